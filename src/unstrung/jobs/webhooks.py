"""Webhooks: who wants to hear of whose videos, and the outbox of what they are still to hear.

What is to be sent is written in the transaction that ends the job, so that whoever is killed afterwards leaves it there. A
sender takes it by saying when it may be sent again; where the sender dies, it is sent again then, under the same id.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Status
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.tables import deliveries, webhooks

if TYPE_CHECKING:
    from unstrung.jobs.store import Store

EVENTS = ("video.completed", "video.failed")
TEST = "webhook.test"
MOST = 20  # of one owner
ROTATION = 86400.0  # seconds in which the secret before the last is still signed with
KEPT = 7 * 86400.0  # seconds after which a delivery that has come to an end is forgotten

# a canceled video has failed: the Videos API knows no other end
_KINDS = {Status.COMPLETED: EVENTS[0], Status.FAILED: EVENTS[1], Status.CANCELED: EVENTS[1]}


@dataclass(frozen=True)
class Webhook:
    """Where an owner's events go. The secrets are kept as they are, for signing."""

    id: str
    owner: str | None
    url: str
    secret: str
    old_secret: str | None
    rotated_at: float | None
    events: tuple[str, ...]
    created_at: float
    active: bool

    def signing(self, now: float) -> list[str]:
        """Return what is signed with at a time: the secret, and for a day after a rotation the one before it."""
        old = self.old_secret if self.rotated_at is not None and now - self.rotated_at < ROTATION else None
        return [self.secret, *([old] if old else [])]

    def to_dict(self) -> dict[str, Any]:
        """Return the webhook as JSON types, without its secrets."""
        return {name: value for name, value in asdict(self).items() if name not in ("secret", "old_secret")}


@dataclass(frozen=True)
class Delivery:
    """An event on its way to one webhook; `next_at` is None when it has come to an end, `attempts` counts those begun."""

    event_id: str
    webhook_id: str
    kind: str
    job_id: str | None
    body: str
    created_at: float
    next_at: float | None
    attempts: int
    delivered_at: float | None
    status: int | None  # of the last answer
    error: str | None  # of the last attempt


def announce(connection: Connection, row: Row[Any]) -> None:
    """Put what a job's change of state means into the outbox, for those of its owner's webhooks that want to hear of it."""
    kind = _KINDS.get(Status(row.status))
    if kind is None:
        return
    c = webhooks.c
    wanted = select(c.id, c.events).where(c.owner.is_not_distinct_from(row.owner), c.active == 1)
    hearing = [id for id, events in connection.execute(wanted) if kind in json.loads(events)]
    if hearing:
        # a code and no words: what is said of a video may quote its prompt
        codes = {Status.FAILED: row.error_code, Status.CANCELED: "canceled"}
        code = codes.get(Status(row.status))
        _post(connection, hearing, kind, row.id, {"id": row.id, **({"error": {"code": code}} if code else {})})


def _post(connection: Connection, hearing: Sequence[str], kind: str, job_id: str | None, data: dict[str, Any]) -> str:
    now, event_id = time.time(), f"evt_{secrets.token_hex(16)}"
    body = json.dumps({"id": event_id, "object": "event", "created_at": int(now), "type": kind, "data": data})
    values = {
        "event_id": event_id,
        "kind": kind,
        "job_id": job_id,
        "body": body,
        "created_at": now,
        "next_at": now,
        "attempts": 0,
    }
    connection.execute(insert(deliveries), [{**values, "webhook_id": id} for id in hearing])
    return event_id


class Webhooks:
    """The webhooks in a store, and its outbox."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, url: str, owner: str | None = None, events: Sequence[str] = EVENTS) -> Webhook:
        """Let a URL hear of an owner's videos; raise `InvalidRequest` for events that there are not, and `OverLimit`."""
        if not events or (unknown := [event for event in events if event not in EVENTS]):
            what = f"events has {unknown[0]!r}" if events else "events is empty"
            raise InvalidRequest("events", f"{what}; there are: {', '.join(EVENTS)}.")
        wanted = tuple(event for event in EVENTS if event in events)
        hook = Webhook(f"webhook_{secrets.token_hex(16)}", owner, url, _secret(), None, None, wanted, time.time(), True)
        values = {**asdict(hook), "events": json.dumps(hook.events), "active": 1}
        with self._store.changing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(owner or ""))))
            mine = select(func.count()).select_from(webhooks).where(webhooks.c.owner.is_not_distinct_from(owner))
            if connection.execute(mine).scalar_one() >= MOST:
                raise OverLimit("webhooks", f"There are {MOST} webhooks, and an owner may have no more: delete one first.")
            connection.execute(insert(webhooks).values(values))
        return hook

    def get(self, id: str, owner: str | None = None) -> Webhook:
        """Return a webhook; raise `UnstrungError` where there is none, or where it is not the given owner's."""
        query = select(webhooks).where(webhooks.c.id == id)
        if owner is not None:
            query = query.where(webhooks.c.owner == owner)
        with self._store.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnstrungError("not_found", "id", f"There is no webhook '{id}': see 'unstrung webhooks list'.")
        return _hook_of(row)

    def remove(self, id: str, owner: str | None = None) -> None:
        """Forget a webhook and what it was still to hear; raise `UnstrungError` as `get` does."""
        self.get(id, owner)
        with self._store.changing() as connection:
            connection.execute(delete(webhooks).where(webhooks.c.id == id))
            connection.execute(delete(deliveries).where(deliveries.c.webhook_id == id))

    def rotate(self, id: str, owner: str | None = None) -> Webhook:
        """Give a webhook a new secret; the one before it is signed with too for a day."""
        self.get(id, owner)
        with self._store.changing() as connection:
            changes = {"old_secret": webhooks.c.secret, "secret": _secret(), "rotated_at": time.time()}
            connection.execute(update(webhooks).where(webhooks.c.id == id).values(changes))
        return self.get(id, owner)

    def test(self, id: str, owner: str | None = None) -> str:
        """Put a `webhook.test` event into the outbox and return its id; raise `UnstrungError` where one waits already."""
        hook = self.get(id, owner)
        if not hook.active:
            words = f"Webhook {id} is not active: its receiver said 410, for good. Add another one."
            raise UnstrungError("bad_status", "id", words)
        c = deliveries.c
        with self._store.changing() as connection:
            waits = select(c.event_id).where(c.webhook_id == id, c.kind == TEST, c.next_at.is_not(None)).limit(1)
            if (waiting := connection.execute(waits).scalar_one_or_none()) is not None:
                raise UnstrungError("bad_status", "id", f"A test of webhook {id} is under way: {waiting}.")
            return _post(connection, [id], TEST, None, {"id": id})

    def deliveries(self, webhook_id: str, limit: int = 20) -> list[Delivery]:
        """Return the last deliveries to a webhook, the newest first."""
        c = deliveries.c
        query = select(deliveries).where(c.webhook_id == webhook_id).order_by(c.created_at.desc(), c.event_id.desc())
        with self._store.reading() as connection:
            return [Delivery(**row._asdict()) for row in connection.execute(query.limit(limit))]

    def due(self, now: float, busy: Collection[str] = ()) -> list[tuple[Delivery, Webhook]]:
        """Return what is to be sent: the first delivery of each webhook that is not busy, the longest due first."""
        c = deliveries.c
        number = func.row_number().over(partition_by=c.webhook_id, order_by=(c.next_at, c.event_id)).label("number")
        waiting = select(c.event_id, c.webhook_id, number).where(c.next_at <= now, c.webhook_id.not_in(busy)).subquery()
        first = select(deliveries).join(
            waiting, (c.event_id == waiting.c.event_id) & (c.webhook_id == waiting.c.webhook_id) & (waiting.c.number == 1)
        )
        with self._store.reading() as connection:
            found = [Delivery(**row._asdict()) for row in connection.execute(first.order_by(c.next_at))]
            named = select(webhooks).where(webhooks.c.id.in_([delivery.webhook_id for delivery in found]))
            hooks = {row.id: _hook_of(row) for row in connection.execute(named)} if found else {}
        return [(delivery, hooks[delivery.webhook_id]) for delivery in found if delivery.webhook_id in hooks]

    def take(self, due: Delivery, until: float) -> Delivery | None:
        """Begin an attempt, which others leave alone until a time; None where another sender was faster."""
        c = deliveries.c
        unchanged = (c.attempts == due.attempts) & (c.next_at == due.next_at)
        changes = {"attempts": c.attempts + 1, "next_at": until}
        with self._store.changing() as connection:
            statement = update(deliveries).where(_is(due), unchanged).values(changes).returning(deliveries)
            row = connection.execute(statement).one_or_none()
        return Delivery(**row._asdict()) if row else None

    def delivered(self, taken: Delivery, status: int) -> None:
        """End a delivery that was received."""
        with self._store.changing() as connection:
            changes = {"next_at": None, "delivered_at": time.time(), "status": status, "error": None}
            connection.execute(update(deliveries).where(_is(taken)).values(changes))

    def missed(self, taken: Delivery, status: int | None, error: str, again_at: float | None) -> None:
        """Say why an attempt failed, and when the next one is due; None gives up."""
        c = deliveries.c
        mine = _is(taken) & (c.attempts == taken.attempts) & c.next_at.is_not(None)
        with self._store.changing() as connection:
            connection.execute(update(deliveries).where(mine).values(next_at=again_at, status=status, error=error))

    def deactivate(self, id: str, error: str) -> None:
        """Send nothing more to a webhook: neither what waits nor what will happen."""
        with self._store.changing() as connection:
            connection.execute(update(webhooks).where(webhooks.c.id == id).values(active=0))
            waiting = (deliveries.c.webhook_id == id) & deliveries.c.next_at.is_not(None)
            connection.execute(update(deliveries).where(waiting).values(next_at=None, error=error))

    def forget(self, before: float) -> int:
        """Remove deliveries that came to an end and were begun before a time, or whose webhook is gone; return how many."""
        c = deliveries.c
        old = c.next_at.is_(None) & (c.created_at < before)
        with self._store.changing() as connection:
            return connection.execute(delete(deliveries).where(old | c.webhook_id.not_in(select(webhooks.c.id)))).rowcount

    def list(self, owner: str | None = None) -> list[Webhook]:
        """Return the webhooks of one owner or of all, the oldest first."""
        query = select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)
        if owner is not None:
            query = query.where(webhooks.c.owner == owner)
        with self._store.reading() as connection:
            return [_hook_of(row) for row in connection.execute(query)]


def _secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _is(delivery: Delivery) -> Any:
    return (deliveries.c.event_id == delivery.event_id) & (deliveries.c.webhook_id == delivery.webhook_id)


def _hook_of(row: Row[Any]) -> Webhook:
    return Webhook(**{**row._asdict(), "events": tuple(json.loads(row.events)), "active": bool(row.active)})
