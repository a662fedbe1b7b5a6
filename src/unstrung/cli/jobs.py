"""The verbs for work that waits: jobs, and the worker that does it."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unstrung.cli.logs import Format, Prompts, Quiet, set_up
from unstrung.cli.talk import Json, print_json, say
from unstrung.errors import InvalidRequest, UnstrungError

if TYPE_CHECKING:
    from unstrung.job import Job
    from unstrung.jobs.store import Store
    from unstrung.request import Request

jobs_app = typer.Typer(no_args_is_help=True, help="See and steer what waits, runs and is done.")
StoreUrl = Annotated[str | None, typer.Option("--store", help="The store's address, as postgresql://...; default: SQLite.")]
LetterFile = Annotated[Path | None, typer.Option("--letter", help="An open letter, in Markdown, for people to sign.")]
LetterMail = Annotated[str | None, typer.Option(help="The mail server by which people sign, as smtp://user:password@host:587.")]
LetterPages = Annotated[bool, typer.Option("--letter-pages", help="Let people sign by a page of theirs, which is asked for.")]
Id = Annotated[str, typer.Argument(help="The job's id; see 'unstrung jobs list'.")]


def data_folder() -> Path:
    """Return where jobs and clips are kept: $UNSTRUNG_DATA, or the user's data folder."""
    from platformdirs import user_data_path

    return Path(os.environ.get("UNSTRUNG_DATA") or user_data_path("unstrung"))


def open_store(url: str | None = None) -> Store:
    """Open the store; raise `UnstrungError` where the extra for it is missing."""
    try:
        from unstrung.jobs.store import Store
    except ImportError:
        words = "The queue needs what the default install leaves out: pip install '.[serve]'"
        raise UnstrungError("not_installed", None, words) from None
    if url is None:
        folder = data_folder()
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder / 'unstrung.db'}"
    return Store(url)


def enqueue(request: Request, variants: int, public: bool, store_url: str | None, as_json: bool) -> None:
    """Put a request into the queue, once for each variant, and say when its turn will come."""
    from unstrung import engine

    store = open_store(store_url)
    first = engine.check(request).target
    assert first.seed is not None
    added = [store.submit(request, replace(first, seed=(first.seed + i) % 2**63), public=public) for i in range(variants)]
    turns = {turn.id: turn for turn in store.turns()}
    if as_json:
        return print_json({"jobs": [_row(job, turns) for job in added]})
    for job in added:
        print(_line(job, turns))
    say("made by 'unstrung worker' or 'unstrung serve', then kept with: unstrung jobs save ID")


@jobs_app.command("list")
def jobs_list(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List jobs, those that wait with their turn."""
    store = open_store(store_url)
    turns = {turn.id: turn for turn in store.turns()}
    found = store.page(limit=limit)
    if as_json:
        return print_json({"jobs": [_row(job, turns) for job in found], "paused": store.paused()})
    for job in found:
        print(_line(job, turns))
    if store.paused():
        say("the queue is paused; go on with: unstrung jobs resume")


@jobs_app.command("show")
def jobs_show(id: Id, store_url: StoreUrl = None, as_json: Json = False) -> None:
    """Say all about a job."""
    store = open_store(store_url)
    job = store.get(id)
    row = _row(job, {turn.id: turn for turn in store.turns()})
    clip = store.clip(id)
    row["file"] = str(data_folder() / "clips" / clip.file) if clip else None
    if as_json:
        return print_json(row)
    for name, value in row.items():
        if value not in (None, {}, []):
            print(f"{name:>22}  {value}")


@jobs_app.command("cancel")
def jobs_cancel(id: Id, store_url: StoreUrl = None) -> None:
    """Take a job out of the queue, or stop it within a step; its prompt stays."""
    print(_line(open_store(store_url).cancel(id), {}))


@jobs_app.command("retry")
def jobs_retry(id: Id, store_url: StoreUrl = None) -> None:
    """Run a job again that failed or was canceled."""
    print(_line(open_store(store_url).retry(id), {}))


@jobs_app.command("publish")
def jobs_publish(id: Id, store_url: StoreUrl = None) -> None:
    """Let everybody who may ask a served machine see a film; until then it is its maker's alone."""
    print(_line(open_store(store_url).publish(id, True), {}))


@jobs_app.command("unpublish")
def jobs_unpublish(id: Id, store_url: StoreUrl = None) -> None:
    """Keep a film for its maker alone again."""
    print(_line(open_store(store_url).publish(id, False), {}))


@jobs_app.command("save")
def jobs_save(
    id: Id,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; default: here, under its id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    store_url: StoreUrl = None,
) -> None:
    """Copy a finished job's film to where you want it."""
    from unstrung.media.codec import copy_clip

    store = open_store(store_url)
    job, clip = store.get(id), store.clip(id)
    if clip is None:
        raise UnstrungError("no_clip", "id", f"Job {id} is {job.status} and has no film: see 'unstrung jobs show {id}'.")
    print(copy_clip(data_folder() / "clips" / clip.file, output or Path(f"{id}.mp4"), force=force))


@jobs_app.command("pause")
def jobs_pause(store_url: StoreUrl = None) -> None:
    """Give out no more jobs; what runs, runs on."""
    open_store(store_url).pause(True)


@jobs_app.command("resume")
def jobs_resume(store_url: StoreUrl = None) -> None:
    """Give out jobs again."""
    open_store(store_url).pause(False)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing waits.")] = False,
    name: Annotated[str | None, typer.Option(help="What the store calls it; default: host, process and time.")] = None,
    attached: Annotated[int | None, typer.Option(help="End with the process of this id, which started it.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    store_url: StoreUrl = None,
    log_format: Format = None,
    quiet: Quiet = False,
    log_prompts: Prompts = False,
) -> None:
    """Make the films that wait in the queue, until SIGTERM or Ctrl-C; what was begun then goes back."""
    store = open_store(store_url)
    set_up(log_format, quiet)
    from unstrung.corpus.feed import asked_to_stop
    from unstrung.jobs.worker import Worker

    with asked_to_stop() as asked:
        made = Worker(store, data_folder(), name=name, device=device, log_prompts=log_prompts)
        taken = made.run(lambda: asked() or (attached is not None and os.getppid() != attached), once)
    logging.getLogger("unstrung.worker").info("ended", extra={"fields": {"jobs": taken}})


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Which address to listen at; others than this machine's own need tokens.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="The name of a web server that passes questions on; needs tokens; may be repeated.")
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(help="What a name stands for, as sora-2=nano; may be repeated.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="How many films are made at once; 0: elsewhere.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    fetch_images: Annotated[bool, typer.Option("--fetch-images", help="Fetch pictures that are named by an address.")] = False,
    allow_private_webhooks: Annotated[
        bool, typer.Option("--allow-private-webhooks", help="Let webhooks lead into this host's own network.")
    ] = False,
    webhook_retry: Annotated[list[float] | None, typer.Option(hidden=True, help="Seconds to the next attempt.")] = None,
    letter: LetterFile = None,
    letter_mail: LetterMail = None,
    letter_pages: LetterPages = False,
    store_url: StoreUrl = None,
    log_format: Format = None,
    quiet: Quiet = False,
    log_prompts: Prompts = False,
) -> None:
    """Answer programs written for the Videos API, at http://127.0.0.1:8000/v1, and make what they ask for."""
    store = open_store(store_url)
    try:
        from unstrung.api.rules import RETRY_AFTER, Rules
        from unstrung.api.serve import serve as run
    except ImportError:
        raise UnstrungError("not_installed", None, "Serving needs more: pip install '.[serve]'") from None
    command = [*(["--device", device] if device else []), *(["--store", store_url] if store_url else [])]
    command += [*set_up(log_format, quiet), *(["--log-prompts"] if log_prompts else [])]
    rules = Rules(
        aliases=read_aliases(alias), names=[known.lower() for known in name or []], fetch_images=fetch_images,
        private_webhooks=allow_private_webhooks, webhook_retry=webhook_retry or RETRY_AFTER,
        letter=letter, letter_mail=letter_mail, letter_pages=letter_pages,
    )  # fmt: skip
    run(store, data_folder(), rules, host=host, port=port, workers=workers, worker_options=command)


def read_aliases(given: list[str] | None) -> dict[str, str]:
    """Return what names stand for; raise `InvalidRequest` for what does not say that."""
    pairs = [alias.partition("=") for alias in given or []]
    if wrong := [name for name, equals, model in pairs if not (name and equals and model)]:
        raise InvalidRequest("alias", f"--alias is '{wrong[0]}'; it must be like sora-2=nano.")
    return {name: model for name, _, model in pairs}


def _row(job: Job, turns: dict[str, Any]) -> dict[str, Any]:
    turn = turns.get(job.id)
    return {**job.to_dict(), **(turn.to_dict() if turn else {})}


def _line(job: Job, turns: dict[str, Any]) -> str:
    turn = turns.get(job.id)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created_at))
    state = f"{job.status} {job.progress} %" if job.status == "in_progress" else str(job.status)
    if turn:
        wait = "nobody at work" if turn.starts_in is None else f"about {turn.starts_in:.0f} s to wait"
        state += f", {turn.position} before it, {wait}"
    if job.public:
        state += ", published"
    if job.error:
        state += f": {job.error.message}"
    return f"{job.id}  {when}  {job.request.prompt!r}  {state}"
