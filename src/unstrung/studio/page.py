"""The page in one language: its tabs, and what each control calls. Every action is a function that the API calls too."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from itertools import islice
from typing import Any, Literal

import gradio as gr

from unstrung.api.callers import COOKIE, Caller, address_of, check_scope
from unstrung.api.desk import Desk
from unstrung.api.given import Intake, read_video
from unstrung.api.schema import Asked
from unstrung.errors import InvalidRequest, UnstrungError, places
from unstrung.job import Job, Status
from unstrung.jobs import feedback
from unstrung.jobs.signing import Letterbox
from unstrung.jobs.store import StoredClip
from unstrung.plugins import find_card
from unstrung.recipe import Recipe
from unstrung.request import Request
from unstrung.studio import form, letter
from unstrung.studio.cards import Cards
from unstrung.studio.library import SORTS, look_through
from unstrung.studio.texts import LANGUAGES, Say, explain, speaker

IDLE = 0.02  # seconds between two looks for events
RECENT = 3  # finished videos that stay in view where one makes further ones
MOST_CARDS = 1000  # that a list gets, however often one asks for more
LARGEST = 100_000  # of a film's sides, frames, and frames a second
AT_ONCE = 12  # cards that a list begins with, and gets more by
MOST_WAITING = 40  # of one's own that are shown
ACTS = ("cancel", "retry", "publish", "unpublish", "remove", "again", "larger", "report")  # that change something

Handler = Callable[..., Any]
Again = Literal["once", "multiple", "always_last"]


@dataclass(frozen=True)
class Visit:
    """Somebody at the page, with what they want: the desk that does it, and the words to speak to them."""

    desk: Desk
    caller: Caller
    cards: Cards

    def shown(self, jobs: list[Job]) -> list[tuple[Job, StoredClip | None]]:
        """Return videos with their clips."""
        store = self.desk.store
        return [(job, store.clip(job.id) if job.status is Status.COMPLETED else None) for job in jobs]

    def waiting(self, newest_first: bool = True) -> list[Job]:
        """Return one's videos that wait or are being made, by their time."""
        found: list[Job] = []
        for status in (Status.IN_PROGRESS, Status.QUEUED):
            page = self.desk.store.page(owner=self.caller.sees, status=status, limit=MOST_WAITING, newest_first=newest_first)
            found += page
        return sorted(found, key=lambda job: (job.created_at, job.id), reverse=newest_first)

    def board(self) -> str:
        """Return what is on its way, and the last few that have ended."""
        ended = (job for job in self.desk.store.page(owner=self.caller.sees, limit=100) if job.completed_at is not None)
        return self.cards.board(self.shown([*self.waiting(), *islice(ended, RECENT)]))


class Page:
    """Builds the page over a desk, in one language."""

    def __init__(self, desk: Desk, language: str, box: Letterbox | None = None) -> None:
        self.desk, self.language, self.box = desk, language, box
        self.say: Say = speaker(language)
        self.cards = Cards(language, self.say)

    def build(self) -> Any:
        """Return the page."""
        say = self.say
        with gr.Blocks(title="Unstrung", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(self._head(), apply_default_css=False)
            leave = gr.HTML("", elem_classes="leave", apply_default_css=False)
            with gr.Tabs(selected="make", elem_id="tabs") as tabs:
                with gr.Tab(say("make"), id="make"):
                    fill = self._make(blocks, tabs, leave)
                for name, build in (("clips", self._clips), ("queue", self._queue), ("gallery", self._gallery)):
                    with gr.Tab(say(name), id=name) as tab:
                        build(tab, fill)
                if self.box is not None:
                    with gr.Tab(say("letter"), id="letter") as tab:
                        letter.build(self, self.box, tab, _said())
        blocks.queue(default_concurrency_limit=16, max_size=1000)
        # every millisecond, in each language, it looked whether somebody has called: a twentieth of a core that films can use
        blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = IDLE, 0.5
        return blocks

    def card(self, caller: Caller, id: str) -> str:
        """Return one of somebody's videos as it is now; raise `UnstrungError` where there is none."""
        visit = Visit(self.desk, _own(caller), self.cards)
        return self.cards.card(*visit.shown([self.desk.store.get(id, visit.caller.sees)])[0])

    def board(self, caller: Caller) -> str:
        """Return somebody's videos that are on their way, and the last few that have ended."""
        return Visit(self.desk, _own(caller), self.cards).board()

    def _head(self) -> str:
        here = self.language
        links = "".join(
            f'<a href="../{code}/" lang="{code}" hreflang="{code}"{" aria-current=page" if code == here else ""}>{name}</a>'
            for code, name in LANGUAGES.items()
        )
        return (
            f"<header><div><h1>Unstrung</h1><p>{self.say('tagline')}</p></div>"
            f'<nav aria-label="{self.say("language")}">{links}</nav></header>'
        )

    def _leave(self, visit: Visit) -> str:
        """Return the way out for whoever came in with a token."""
        guests = self.desk.door.guests
        if visit.caller.owner is None:
            return ""
        if guests and guests.is_guest(visit.caller.owner):
            return f'<a href="../sign-in?language={self.language}">{self.say("sign_in")}</a>'
        words = f"{self.say('sign_out')} ({escape(visit.caller.name)})"
        return f'<form method="post" action="../sign-out"><button>{words}</button></form>'

    def _make(self, blocks: gr.Blocks, tabs: gr.Tabs, leave: gr.HTML) -> list[Any]:
        """Build the tab that makes videos; return what another tab fills in to have one made like another."""
        say = self.say
        models = form.installed(self.desk)
        controls = form.build(say, models)
        reads = gr.HTML(self._reads(models[0]), elem_id="reads", apply_default_css=False)
        go = gr.Button(say("generate"), variant="primary", elem_id="generate")
        said, board = _said(), _board("board", at="board")
        fill = [said, tabs, *controls.all()]
        prompt, model, expand = (controls[name] for name in ("prompt", "model", "expand"))

        def make(visit: Visit, _: gr.EventData, *values: Any) -> Any:
            asked, original = form.read(values)
            check_scope(visit.caller, "write")
            with Intake(self.desk, visit.caller) as sent:
                read = read_video(self.desk, asked, visit.caller, sent)
                request = replace(read.request, original_prompt=original)
                self.desk.submit(replace(read, request=request), visit.caller, also=sent.keep)
            return _good(say("sent"))

        def show_expanded(visit: Visit, _: gr.EventData, on: bool, words: str, chosen: str, expanded_of: str) -> Any:
            if words == expanded_of:  # as it stands, maybe changed by hand
                return gr.skip(), gr.update(visible=on), gr.skip()
            expanding = getattr(find_card(chosen, listed=True)[1], "expand", None)
            longer = expanding(words) if on and expanding and words.strip() else words
            return gr.skip(), gr.update(value=longer, visible=on), words if on else ""

        self.on([go.click, prompt.submit], make, controls.all(), [said], again="once")
        self.on([board.click], self._act, [], fill)
        # it may be answered after what somebody has asked for at once: of that, nothing is taken back
        self.on([blocks.load], lambda visit, _: (gr.skip(), self._leave(visit)), [], [said, leave])
        shown = [said, controls["expanded"], controls["expanded_of"]]
        asked = [expand, prompt, model, controls["expanded_of"]]
        self.on([expand.input, prompt.blur], show_expanded, asked, shown, again="always_last")
        self.on([model.input], lambda visit, _, chosen: ("", self._reads(chosen)), [model], [said, reads])
        self.on([controls["picture"].upload], self._reuse_file, [], fill)
        return fill

    def _clips(self, tab: gr.Tab, fill: list[Any]) -> None:
        say = self.say
        with gr.Row():
            search = gr.Textbox(label=say("search"), max_lines=1, scale=3)
            sort = gr.Dropdown(
                [(say(f"sort_{name}"), name) for name in SORTS], value="newest", label=say("sort"), filterable=False
            )
        count = gr.Number(AT_ONCE, visible="hidden")
        said, board = _said(), _board("clips")
        reports = gr.HTML("", elem_id="reports", apply_default_css=False)
        asked = [search, sort, count]

        def look(visit: Visit, _: gr.EventData, words: str, order: str, most: float) -> Any:
            most = _bounded(most)
            found = look_through(self.desk.store, visit.caller.sees, words, order, most + 1)
            shown = visit.shown(found[:most])
            more = self._more() if len(found) > most else ""
            own = feedback.page(self.desk.store, owner=visit.caller.owner, limit=50)
            return (
                "",
                self.cards.board(shown, empty=say("found_none" if words else "clips_none"), more=more),
                f"<h2>{say('reports')}</h2>{self.cards.reports(own)}",
            )

        def act(visit: Visit, event: gr.EventData, words: str, order: str, most: float) -> Any:
            most += AT_ONCE * (event._data.get("do") == "more")
            here, *filled = self._act_elsewhere(visit, event)
            return here, *look(visit, event, words, order, most)[1:], most, *filled

        self.on([tab.select, search.change, sort.input], look, asked, [said, board, reports], again="always_last")
        self.on([board.click], act, asked, [said, board, reports, count, *fill])

    def _queue(self, tab: gr.Tab, fill: list[Any]) -> None:
        say = self.say
        again = gr.Button(say("refresh"), size="sm", elem_id="refresh")
        said, board = _said(), _board("waiting")

        def look(visit: Visit, _: gr.EventData) -> Any:
            store, sees = self.desk.store, visit.caller.sees
            paused = f'<p class="bad">{say("queue_paused")}</p>' if store.paused() else ""
            cards = self.cards.board(visit.shown(visit.waiting(newest_first=False)), empty=say("queue_mine_none"))
            others = self.cards.others(*((0, 0.0) if sees is None else store.work_of_others(sees)))
            return "", f"{paused}<h2>{say('queue_mine')}</h2>{cards}{others}"

        def act(visit: Visit, event: gr.EventData) -> Any:
            here, *filled = self._act_elsewhere(visit, event)
            return here, look(visit, event)[1], *filled

        self.on([tab.select, again.click], look, [], [said, board])
        self.on([board.click], act, [], [said, board, *fill])

    def _gallery(self, tab: gr.Tab, fill: list[Any]) -> None:
        say = self.say
        gr.HTML(f'<p class="hint">{say("gallery_hint")}</p>', apply_default_css=False)
        count = gr.Number(AT_ONCE, visible="hidden")
        said, board = _said(), _board("gallery")

        def look(visit: Visit, _: gr.EventData, most: float) -> Any:
            most = _bounded(most)
            found = self.desk.store.page(public=True, status=Status.COMPLETED, limit=most + 1)
            more = self._more() if len(found) > most else ""
            return "", self.cards.board(visit.shown(found[:most]), mine=False, empty=say("gallery_none"), more=more)

        def act(visit: Visit, event: gr.EventData, most: float) -> Any:
            most += AT_ONCE * (event._data.get("do") == "more")
            here, *filled = self._act_elsewhere(visit, event)
            return here, look(visit, event, most)[1], most, *filled

        self.on([tab.select], look, [count], [said, board])
        self.on([board.click], act, [count], [said, board, count, *fill])

    def _act_elsewhere(self, visit: Visit, event: gr.EventData) -> tuple[Any, ...]:
        """Do as `_act` does, on another tab than the one that makes videos; return also what is to be said on that one."""
        told, tab, *filled = self._act(visit, event)
        if event._data.get("do") == "reuse":
            return "", told, tab, *filled
        return told, gr.skip(), tab, *filled

    def _act(self, visit: Visit, event: gr.EventData) -> tuple[Any, ...]:
        """Do what a button on a card says; return what is to be said of it, the tab to go to, and what fills the form."""
        did, id = event._data.get("do"), str(event._data.get("id"))
        store, caller, stay = self.desk.store, visit.caller, gr.skip()
        as_is = [gr.skip()] * len(form.NAMES)
        if did == "reuse":
            request = store.get(id, caller.sees, or_public=True).request
            return self._filled(request)
        if did in ACTS:
            check_scope(caller, "write")
        if did == "cancel":
            store.cancel(id, caller.sees)
        elif did == "retry":
            store.retry(id, caller.sees, caller.allowance)
        elif did in ("publish", "unpublish"):
            store.publish(id, did == "publish", caller.sees)
        elif did == "remove":
            self.desk.remove(id, caller)
        elif did == "report":
            words, credit = str(event._data.get("text") or ""), str(event._data.get("credit") or "").strip() or None
            feedback.report(store, id, words, owner=caller.owner, sees=caller.sees, credit=credit)
            return _good(self.say("report_sent")), stay, *as_is
        elif did in ("again", "larger"):
            asked = store.get(id, caller.sees).request
            wanted = replace(asked, seed=None) if did == "again" else form.larger(asked)
            if wanted is None:
                raise InvalidRequest("size", "There is no larger one.")
            self.desk.submit(Asked(wanted), caller)
            return _good(self.say("sent")), stay, *as_is
        return "", stay, *as_is

    def _reuse_file(self, visit: Visit, event: gr.EventData) -> tuple[Any, ...]:
        """Fill the form from the recipe that the page has found in a film."""
        recipe = Recipe.from_json(str(event._data.get("recipe")))
        out = recipe.output
        sizes = [out[name] for name in ("width", "height", "num_frames", "fps")]
        if not all(type(size) is int and 0 < size < LARGEST for size in sizes):
            raise UnstrungError("bad_recipe", None, f"The recipe is damaged: no film is like {sizes}.")
        try:
            request = Request.from_dict({**recipe.request, "num_frames": None, "seed": recipe.seed})
        except InvalidRequest as error:
            raise UnstrungError("bad_recipe", error.field, error.message) from None
        request = replace(request, width=sizes[0], height=sizes[1], seconds=round(sizes[2] / sizes[3], 3))
        return self._filled(request)

    def _filled(self, request: Request) -> tuple[Any, ...]:
        """Return what is to be said, the tab to go to, and what fills the form; raise where the model is not here."""
        self.desk.card(request.model)
        others = (request.conditions, request.shots, request.loras, request.finish, request.options, request.sampler)
        told = self.say("reused_but" if any(others) else "reused")
        return _good(told), gr.Tabs(selected="make"), *form.fill(request, self.say)

    def _reads(self, model: str) -> str:
        """Return what has to be said of a model's language where the page speaks another."""
        card = self.desk.card(model)
        if card.languages == ("en",) and self.language != "en":
            return f'<p class="hint">{self.say("reads_english", model=card.id)}</p>'
        return ""

    def _more(self) -> str:
        return f'<p><button type="button" class="act" data-do="more">{self.say("load_more")}</button></p>'

    def on(
        self, events: list[Any], handler: Handler, inputs: list[Any], outputs: list[Any], again: Again = "multiple"
    ) -> None:  # fmt: skip
        """Have events call a handler, as whoever is at the page. What goes wrong is said in the first of the outputs.

        An event that comes while another is being answered is answered too; with `again` "once" it is passed over, and counts as
        one of the times that a token may ask in a minute; with "always_last" only the last of these is answered, afterwards.
        """

        def answer(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
            try:
                return handler(Visit(self.desk, self._caller(request, again == "once"), self.cards), event, *values)
            except UnstrungError as error:
                why = self._why(error)
            except Exception as error:  # a fault of ours: whoever is at the page is told, and the log says where
                logging.getLogger("unstrung.studio").error("broke", extra={"fields": {"error": places(error)}})
                why = explain(self.language, "internal_error")
            said = f'<p class="bad">{why}</p>'
            return said if len(outputs) == 1 else [said, *[gr.skip()] * (len(outputs) - 1)]

        gr.on(events, answer, inputs, outputs, show_progress="hidden", api_visibility="private", trigger_mode=again)

    def _caller(self, request: gr.Request, paced: bool) -> Caller:
        asked = request.request
        assert asked is not None
        found = self.desk.door.know(asked.cookies.get(COOKIE, ""), address_of(asked), paced=paced)
        return _own(found)

    def _why(self, error: UnstrungError) -> str:
        able = error.message.rpartition("These do: ")[2].rstrip(".") if "These do: " in error.message else "–"
        return escape(explain(self.language, error.code, error.field, able=able))


def _own(caller: Caller) -> Caller:
    """Return who is at the page: whoever may steer everybody's films does so elsewhere, here are one's own."""
    return replace(caller, sees=caller.owner)


def _said() -> gr.HTML:
    """Return where what came of an action is said."""
    return gr.HTML("", elem_classes="said", apply_default_css=False, js_on_load="unstrung.said(element, watch)")


def _board(id: str, at: str | None = None) -> gr.HTML:
    """Return where videos are shown, which the script looks up `at` an address, where one is given. A click is a button's."""
    return gr.HTML(
        "",
        elem_id=id,
        apply_default_css=False,
        html_template='<div class="board"></div>',
        js_on_load=f"unstrung.board(element, props, trigger, watch, {json.dumps(at)})",
    )


def _bounded(most: float) -> int:
    """Return how many cards a list may have; the number comes from a browser, and may be anything."""
    return int(most) if AT_ONCE <= most <= MOST_CARDS else AT_ONCE


def _good(words: str) -> str:
    return f'<p class="good">{words}</p>'
