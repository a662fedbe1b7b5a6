"""Feedback: a report is attached to a video's recipe, and is its reporter's work, with a state, a credit line and an amount.

The ledger has a line for each change of a report's state, and no line of it is ever changed: what the host has agreed to pay,
and when, stays to be read. The last line is how it stands.
"""

from __future__ import annotations

import csv
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from io import StringIO
from typing import Any

from sqlalchemy import Row, Select, and_, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.store import NotFound, Store
from unstrung.jobs.tables import feedback, ledger

LONGEST_TEXT, LONGEST_LINE = 8000, 200  # characters: of a report; of a credit line and of a note
MOST_OPEN = 200  # reports of one owner that nobody has answered


class FeedbackState(StrEnum):
    """What has become of a report."""

    RECEIVED = "received"
    ACCEPTED = "accepted"  # the host has agreed to pay the amount, which may be nothing
    DECLINED = "declined"
    PAID = "paid"


AFTER = {
    FeedbackState.ACCEPTED: (FeedbackState.RECEIVED, FeedbackState.DECLINED, FeedbackState.ACCEPTED),
    FeedbackState.DECLINED: (FeedbackState.RECEIVED,),  # what was agreed to is not taken back
    FeedbackState.PAID: (FeedbackState.ACCEPTED,),
}


@dataclass(frozen=True)
class Feedback:
    """A report as it stands. `recipe` is JSON, as the clip had it; `amount` counts hundredths of the currency."""

    id: str
    owner: str | None
    video_id: str
    recipe: str
    text: str
    credit: str | None
    created_at: float
    state: FeedbackState
    amount: int
    currency: str | None
    note: str | None
    updated_at: float
    number: int

    def to_dict(self) -> dict[str, Any]:
        """Return all but the recipe, for people and programs; the amount in whole units, as text."""
        names = ("id", "owner", "video_id", "text", "credit", "created_at", "currency", "note", "updated_at")
        return {name: getattr(self, name) for name in names} | {"state": self.state.value, "amount": in_units(self.amount)}


class NoSuchFeedback(NotFound):
    """There is no such report, or it is somebody else's."""

    def __init__(self, id: str) -> None:
        super(NotFound, self).__init__("not_found", "feedback_id", f"There is no report '{id}': see 'unstrung feedback list'.")


def report(
    store: Store, video_id: str, words: str, *, owner: str | None, sees: str | None, credit: str | None = None
) -> Feedback:
    """Attach a report to a finished video that its reporter may see.

    Raises `UnstrungError` where there is none, `InvalidRequest` for words that are none, and `OverLimit` for too many reports.
    """
    for name, value, longest in (("text", words, LONGEST_TEXT), ("credit", credit, LONGEST_LINE)):
        if value is not None:
            _check_words(name, value, longest)
    clip = store.clip(store.get(video_id, sees, or_public=True).id)
    if clip is None:
        raise UnstrungError("not_ready", "video_id", f"Video {video_id} is not finished, and a report belongs to a recipe.")
    id, now = f"feedback_{secrets.token_hex(16)}", time.time()
    with store.changing() as connection:
        waiting = _standing().where(_owned_by(owner), ledger.c.state == FeedbackState.RECEIVED).subquery()
        if connection.execute(select(func.count()).select_from(waiting)).scalar_one() >= MOST_OPEN:
            raise OverLimit("text", f"{MOST_OPEN} of your reports have no answer yet: wait for some.")
        connection.execute(
            insert(feedback).values(
                id=id, owner=owner, video_id=video_id, recipe=clip.recipe.to_json(), text=words, credit=credit, created_at=now
            )
        )
        connection.execute(insert(ledger).values(feedback_id=id, number=0, at=now, state=FeedbackState.RECEIVED, amount=0))
    return get(store, id)


def get(store: Store, id: str, owner: str | None = None) -> Feedback:
    """Return a report; raise `NoSuchFeedback`, also where it is not the given owner's."""
    query = _standing().where(feedback.c.id == id)
    with store.reading() as connection:
        row = connection.execute(query if owner is None else query.where(feedback.c.owner == owner)).one_or_none()
    if row is None:
        raise NoSuchFeedback(id)
    return _feedback_of(row)


def page(
    store: Store, *, owner: str | None = None, state: FeedbackState | None = None, after: str | None = None, limit: int = 20
) -> list[Feedback]:
    """Return reports, the newest first, of one owner or of all; those behind the report `after`."""
    c, query = feedback.c, _standing()
    if owner is not None:
        query = query.where(c.owner == owner)
    if state is not None:
        query = query.where(ledger.c.state == state)
    if after is not None:
        seen = get(store, after, owner)
        beside = and_(c.created_at == seen.created_at, c.id < seen.id)
        query = query.where(or_(c.created_at < seen.created_at, beside))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(c.created_at.desc(), c.id.desc()).limit(limit))
        return [_feedback_of(row) for row in rows]


def answer(
    store: Store,
    id: str,
    state: FeedbackState,
    *,
    amount: str | None = None,
    currency: str | None = None,
    note: str | None = None,
) -> Feedback:
    """Write down what becomes of a report; an amount, as "25.00", is agreed to when it is accepted.

    Raises `UnstrungError` where that can't follow how it stands, and where somebody else has just answered.
    """
    seen = get(store, id)
    if seen.state not in AFTER.get(state, ()):
        words = f"Report {id} is {seen.state}, so it can't become {state}."
        raise UnstrungError("bad_status", "state", words)
    agreed, unit = seen.amount, seen.currency
    if state is FeedbackState.ACCEPTED and amount is not None:
        agreed, unit = _amount(amount), _currency(currency or unit)
        if agreed < seen.amount or (seen.amount and unit != seen.currency):
            words = f"{in_units(seen.amount)} {seen.currency} was agreed to, and what was agreed to can only become more."
            raise InvalidRequest("amount", words)
    elif amount is not None or currency is not None:
        raise InvalidRequest("amount", "An amount is agreed to when a report is accepted, and with its currency.")
    if note is not None:
        _check_words("note", note, LONGEST_LINE)
    line = {"feedback_id": id, "number": seen.number + 1, "at": time.time(), "state": state, "amount": agreed}
    try:
        with store.changing() as connection:
            connection.execute(insert(ledger).values(**line, currency=unit, note=note))
    except IntegrityError:
        raise UnstrungError("bad_status", "state", f"Report {id} was answered just now: look again.") from None
    return get(store, id)


def lines(store: Store) -> Iterator[str]:
    """Yield the whole ledger as CSV, the oldest line first: who reported what of which video, and what was agreed to and paid."""
    titles = ("at", "feedback_id", "number", "state", "amount", "currency", "note", "owner", "credit", "video_id", "text")
    yield _row(titles)
    c, f = ledger.c, feedback.c
    query = (
        select(c.at, c.feedback_id, c.number, c.state, c.amount, c.currency, c.note, f.owner, f.credit, f.video_id, f.text)
        .join_from(ledger, feedback, c.feedback_id == f.id)
        .order_by(c.at, c.feedback_id, c.number)
    )
    with store.reading() as connection:
        for row in connection.execute(query):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row.at))
            yield _row((at, *row[1:4], in_units(row.amount), *row[5:]))


def in_units(hundredths: int) -> str:
    """Return an amount as people write it: 2500 is "25.00"."""
    return f"{Decimal(hundredths) / 100:.2f}"


def _standing() -> Select[Any]:
    """Return the question for reports, each with its last line."""
    c = ledger.c
    last = select(func.max(c.number)).where(c.feedback_id == feedback.c.id).correlate(feedback).scalar_subquery()
    return select(
        feedback, c.state, c.amount, c.currency, c.note, c.at.label("updated_at"), c.number
    ).join_from(feedback, ledger, and_(c.feedback_id == feedback.c.id, c.number == last))  # fmt: skip


def _owned_by(owner: str | None) -> Any:
    return feedback.c.owner.is_(None) if owner is None else feedback.c.owner == owner


def _feedback_of(row: Row[Any]) -> Feedback:
    return Feedback(**{**row._asdict(), "state": FeedbackState(row.state)})


def _check_words(name: str, value: str, longest: int) -> None:
    if not value.strip() or len(value) > longest or "\0" in value:
        raise InvalidRequest(name, f"{name} has {len(value)} characters; it must be words, of at most {longest}.")


def _amount(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,2})?", text):
        raise InvalidRequest("amount", f"amount is '{text}'; it must be like 25 or 25.50.")
    return int(Decimal(text) * 100)


def _currency(text: str | None) -> str:
    if text is None or not re.fullmatch("[A-Z]{3}", text):
        raise InvalidRequest("currency", f"currency is {text!r}; it must be three letters, like EUR.")
    return text


def _row(values: tuple[Any, ...]) -> str:
    """Return a line of CSV. A cell that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(
        "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value for value in values
    )
    return out.getvalue()
