"""The verbs for what people report of videos, and what the host answers."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unstrung.cli.jobs import StoreUrl, open_store
from unstrung.cli.talk import Json, print_json
from unstrung.errors import InvalidRequest

if TYPE_CHECKING:
    from unstrung.jobs.feedback import Feedback

feedback_app = typer.Typer(no_args_is_help=True, help="Read what people report of videos, and answer it.")
Id = Annotated[str, typer.Argument(help="The report's id; see 'unstrung feedback list'.")]
Note = Annotated[str | None, typer.Option(help="A word to the reporter.")]


@feedback_app.command("list")
def feedback_list(
    state: Annotated[str | None, typer.Option(help="received, accepted, declined or paid; default: all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List reports and what became of them."""
    store = open_store(store_url)
    from unstrung.jobs.feedback import FeedbackState, page

    if state is not None and state not in tuple(FeedbackState):
        raise InvalidRequest("state", f"--state is '{state}'; it must be one of: {', '.join(FeedbackState)}.")
    found = page(store, state=FeedbackState(state) if state else None, limit=limit)
    if as_json:
        return print_json({"feedback": [report.to_dict() for report in found]})
    for report in found:
        print(_line(report))


@feedback_app.command("show")
def feedback_show(id: Id, store_url: StoreUrl = None, as_json: Json = False) -> None:
    """Say all about a report, with the recipe that it is attached to."""
    store = open_store(store_url)
    import json

    from unstrung.jobs.feedback import get

    report = get(store, id)
    if as_json:
        return print_json({**report.to_dict(), "recipe": json.loads(report.recipe)})
    for name, value in {**report.to_dict(), "recipe": report.recipe}.items():
        if value is not None:
            print(f"{name:>10}  {value}")


@feedback_app.command("accept")
def feedback_accept(
    id: Id,
    amount: Annotated[str | None, typer.Option(help="What you agree to pay, as 25.00; default: nothing.")] = None,
    currency: Annotated[str | None, typer.Option(help="As EUR; with --amount.")] = None,
    note: Note = None,
    store_url: StoreUrl = None,
) -> None:
    """Accept a report, for the amount that you agree to pay; agreed again, it can only become more."""
    _answer(store_url, id, "accepted", amount, currency, note)


@feedback_app.command("decline")
def feedback_decline(id: Id, note: Note = None, store_url: StoreUrl = None) -> None:
    """Decline a report that was not accepted."""
    _answer(store_url, id, "declined", None, None, note)


@feedback_app.command("paid")
def feedback_paid(id: Id, note: Note = None, store_url: StoreUrl = None) -> None:
    """Write down that what was agreed to has been paid; the paying itself is yours."""
    _answer(store_url, id, "paid", None, None, note)


@feedback_app.command("ledger")
def feedback_ledger(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; default: stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    store_url: StoreUrl = None,
) -> None:
    """Write the ledger as CSV: each change of each report, the oldest first."""
    store = open_store(store_url)
    from unstrung.jobs.feedback import lines
    from unstrung.media.codec import check_target

    if output is None:
        sys.stdout.writelines(lines(store))
        return
    check_target(output, force, ".csv")
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", newline="") as file:
            file.writelines(lines(store))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    print(output)


def _answer(store_url: str | None, id: str, state: str, amount: str | None, currency: str | None, note: str | None) -> None:
    store = open_store(store_url)
    from unstrung.jobs.feedback import FeedbackState, answer

    print(_line(answer(store, id, FeedbackState(state), amount=amount, currency=currency, note=note)))


def _line(report: Feedback) -> str:
    from unstrung.jobs.feedback import in_units

    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.created_at))
    agreed = f" {in_units(report.amount)} {report.currency}" if report.currency else ""
    return f"{report.id}  {when}  {report.state}{agreed}  by {report.credit or report.owner or '-'}  {report.text[:60]!r}"
