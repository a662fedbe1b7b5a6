"""The tab of the host's open letter: the text, who has signed it, and how one signs."""

from __future__ import annotations

import base64
import time
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from unstrung.jobs import letter
from unstrung.jobs.letter import KEYS, Kind, Signature
from unstrung.jobs.proofs import NAMESPACE
from unstrung.jobs.signing import Letterbox, Signing

if TYPE_CHECKING:
    from unstrung.studio.page import Page, Visit

SHOWN = 50  # signatures, the newest first; all are in the log
COMMANDS = {
    Kind.SSH: f"ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 statement.txt && cat statement.txt.sig",
    Kind.MINISIGN: "minisign -Sm statement.txt && cat statement.txt.minisig",
}


def build(page: Page, box: Letterbox, tab: gr.Tab, said: Any) -> None:
    """Build the tab."""
    say = page.say
    gr.Markdown(box.letter.text, elem_id="letter", latex_delimiters=[])
    signers = gr.HTML("", elem_id="signers", apply_default_css=False)
    gr.HTML(f"<h2>{say('letter_sign')}</h2>", apply_default_css=False)
    kinds = [(say(f"kind_{kind}"), kind.value) for kind in box.kinds]
    with gr.Row():
        name = gr.Textbox(label=say("letter_name"), max_lines=1)
        kind = gr.Radio(kinds, value=kinds[0][1], label=say("letter_kind"))
    address = gr.Textbox(label=say("letter_address"), max_lines=1, visible=False)
    begin = gr.Button(say("letter_begin"), elem_id="begin")
    signing = gr.Textbox(visible="hidden")
    todo = gr.HTML("", elem_id="todo", apply_default_css=False)
    signature = gr.Textbox(label=say("letter_signature"), lines=6, visible=False)
    key = gr.Textbox(label=say("letter_key"), max_lines=3, visible=False)
    code = gr.Textbox(label=say("letter_code"), max_lines=1, visible=False)
    prove = gr.Button(say("letter_prove"), variant="primary", visible=False, elem_id="prove")
    proofs = [signature, key, code, prove]

    def look(visit: Visit, _: gr.EventData) -> Any:
        return "", _signers(page, box)

    def choose(visit: Visit, _: gr.EventData, chosen: str) -> Any:
        return "", gr.update(visible=chosen not in KEYS), "", *[gr.update(visible=False)] * len(proofs)

    def start(visit: Visit, _: gr.EventData, named: str, chosen: str, at: str) -> Any:
        begun = box.begin(named, chosen, None if chosen in KEYS else at)
        shown = (chosen in KEYS, chosen == Kind.MINISIGN, chosen == Kind.MAIL)
        fields = [gr.update(value="", visible=visible) for visible in shown]
        return "", begun.id, _todo(page, begun), *fields, gr.update(visible=True)

    def end(visit: Visit, _: gr.EventData, id: str, chosen: str, *given: str) -> Any:
        wanted = {Kind.SSH: ("signature",), Kind.MINISIGN: ("signature", "public_key"), Kind.MAIL: ("code",), Kind.PAGE: ()}
        values = dict(zip(("signature", "public_key", "code"), given, strict=True))
        signed = box.prove(id, **{field: values[field] for field in wanted[Kind(chosen)]})
        done = f'<p class="good">{say("letter_done", n=signed.number)}</p>'
        return done, _signers(page, box), "", *[gr.update(visible=False)] * len(proofs)

    page.on([tab.select], look, [], [said, signers])
    page.on([kind.input], choose, [kind], [said, address, todo, *proofs])
    page.on([begin.click], start, [name, kind, address], [said, signing, todo, *proofs], again="once")
    page.on([prove.click], end, [signing, kind, signature, key, code], [said, signers, todo, *proofs], again="once")


def _signers(page: Page, box: Letterbox) -> str:
    """Return how many have signed, and who."""
    say, count = page.say, sum(letter.count(box.store, box.letter).values())
    link = f'<p><a href="/v1/letter/log" target="_blank" rel="noopener">{escape(say("letter_log"))}</a></p>'
    if not count:
        return f'<p class="hint">{escape(say("letter_none"))}</p>{link}'
    rows = "".join(_row(page, line) for line in letter.page(box.store, box.letter, limit=SHOWN, newest_first=True))
    return (
        f"<h2>{escape(say('letter_signers'))}</h2><p>{escape(say('letter_signed', n=count))}</p>"
        f'<ul class="signers">{rows}</ul>{link}'
    )


def _row(page: Page, line: Signature) -> str:
    say = page.say
    proven = say("proven_key" if line.checkable else "proven_host")
    day = time.strftime("%Y-%m-%d", time.gmtime(line.at))
    return (
        f'<li><b dir="auto">{escape(line.name)}</b> <small>{day} · {escape(say(f"kind_{line.kind}"))} · {escape(proven)}</small>'
        f"<br><code>{escape(line.signer)}</code></li>"
    )


def _todo(page: Page, begun: Signing) -> str:
    """Return what a signer has to do for the proof."""
    say = page.say
    if begun.statement is not None:
        data = base64.b64encode(begun.statement.encode()).decode()
        save = f'<a class="act" download="statement.txt" href="data:text/plain;base64,{data}">{escape(say("letter_save"))}</a>'
        return (
            f'<p>{escape(say("letter_statement"))}:</p><pre tabindex="0">{escape(begun.statement)}</pre>'
            f'<p>{save} {escape(say("letter_command"))}:</p><pre tabindex="0">{escape(COMMANDS[begun.kind])}</pre>'
        )
    if begun.token is not None:
        return f'<p>{escape(say("letter_token"))}:</p><pre tabindex="0">{escape(begun.token)}</pre>'
    return f"<p>{escape(say('letter_mailed'))}</p>"
