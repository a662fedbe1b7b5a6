"""The verbs for the page: open it, and write it as a Space for others."""

from __future__ import annotations

import shlex
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unstrung.cli.jobs import LetterFile, LetterMail, LetterPages, StoreUrl, data_folder, open_store, read_aliases
from unstrung.cli.logs import Format, Prompts, Quiet, set_up
from unstrung.cli.talk import say
from unstrung.errors import UnstrungError

if TYPE_CHECKING:
    from fastapi import FastAPI


def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Which address to listen at; others than this machine's own need tokens, or --guests.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="The name of a web server that passes questions on; may be repeated.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(help="What a name stands for, as sora-2=nano, which the page then offers first; may be repeated."),
    ] = None,
    guests: Annotated[bool, typer.Option("--guests", help="Let whoever opens the page make films, each for themselves.")] = False,
    framed_by: Annotated[list[str] | None, typer.Option(help="An origin whose pages may show this one inside theirs.")] = None,
    letter: LetterFile = None,
    letter_mail: LetterMail = None,
    letter_pages: LetterPages = False,
    workers: Annotated[int, typer.Option(min=0, max=64, help="How many films are made at once; 0: elsewhere.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in your browser.")] = True,
    store_url: StoreUrl = None,
    log_format: Format = None,
    quiet: Quiet = False,
    log_prompts: Prompts = False,
) -> None:
    """Open the page where films are made, at http://127.0.0.1:8000, with the API of 'unstrung serve' behind it."""
    store = open_store(store_url)
    try:
        from unstrung.api.rules import GUESTS, Rules
        from unstrung.api.serve import serve as run
        from unstrung.studio.entrance import mount
    except ImportError:
        raise UnstrungError("not_installed", None, "The page needs more: pip install '.[ui]'") from None
    command = [*(["--device", device] if device else []), *(["--store", store_url] if store_url else [])]
    command += [*set_up(log_format, quiet), *(["--log-prompts"] if log_prompts else [])]
    rules = Rules(
        aliases=read_aliases(alias), names=[known.lower() for known in name or []], guests=GUESTS if guests else None,
        framed_by=framed_by or (), letter=letter, letter_mail=letter_mail, letter_pages=letter_pages,
    )  # fmt: skip

    def dress(app: FastAPI) -> None:
        mount(app)
        if browser:
            here = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
            threading.Timer(1.0, webbrowser.open, [f"http://{here}:{port}/"]).start()

    run(store, data_folder(), rules, host=host, port=port, workers=workers, worker_options=command, dress=dress)


def space(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    remote: Annotated[
        str | None,
        typer.Option(help="The host that makes the films, as https://films.example.org/v1; default: the Space itself."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds something; the rest of it stays.")
    ] = False,
) -> None:
    """Write the page as a Hugging Face Space, ready to be published."""
    from unstrung.studio.space import write_space

    for path in write_space(folder, remote=remote, force=force):
        print(path)
    git = f"git -C {shlex.quote(str(folder))}"
    say("make an empty Space with the SDK Gradio at https://huggingface.co/new-space, and publish this there:")
    say(f"  {git} init -b main && {git} lfs install --local")
    say(f"  {git} add . && {git} commit -m Unstrung")
    say(f"  {git} push --force https://huggingface.co/spaces/YOU/NAME main")
    if remote:
        say("your token at the other host goes into the Space's settings, as the secret UNSTRUNG_REMOTE_KEY")
