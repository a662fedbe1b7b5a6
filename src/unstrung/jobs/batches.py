"""Batches: many requests in one file, fed into the queue a few at a time, and their answers in another.

All that is known of a batch is in the store, and every change is one conditional statement or one transaction. Whoever drives
it may be killed at any instruction: the next one goes on from what is there. A lease keeps two from driving the same batch,
but nothing depends on it: a line becomes a job in the transaction that says so, and only from `waiting`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, exists, func, insert, or_, select, update

from unstrung.errors import UnstrungError
from unstrung.job import Status
from unstrung.jobs import files
from unstrung.jobs.files import StoredFile
from unstrung.jobs.lines import Line, LineError, key_of
from unstrung.jobs.store import NotFound, Store
from unstrung.jobs.tables import batch_lines, batches, jobs, tokens

WINDOW = 86400.0  # seconds within which a batch is done, or expires
LEASE = 5.0  # seconds of silence after which whoever drove a batch is thought dead
MOST_WAITING = 8  # jobs of one batch in the queue: enough that no worker waits, few enough that nobody else does


class BatchStatus(StrEnum):
    """Where a batch stands, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class LineState(StrEnum):
    """Where a line stands: it has no job yet, has one, has its clip, has none, or was dropped when the batch ended."""

    WAITING = "waiting"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    FAILED = "failed"
    DROPPED = "dropped"


ALIVE = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING)
TIMES = (
    "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """A batch. `caller` is who made it and what that one may do; `ending` is what it will be when all is settled.

    `times` are those of `TIMES` that have come, in seconds since 1970.
    """

    id: str
    owner: str | None
    caller: Mapping[str, Any]
    token: str | None  # the name of the token that made it
    input_file_id: str
    created_at: float
    expires_at: float
    status: BatchStatus = BatchStatus.VALIDATING
    ending: BatchStatus | None = None
    metadata: Mapping[str, str] | None = None
    output_seconds: int | None = None  # for which its files are kept; None is for ever
    errors: tuple[LineError, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenLine:
    """A line that has a job, and where that stands; None where somebody has deleted it."""

    number: int
    custom_id: str
    job_id: str
    status: Status | None


class NoSuchBatch(NotFound):
    """There is no such batch, or it is somebody else's."""

    def __init__(self, id: str) -> None:
        super(NotFound, self).__init__("not_found", "batch_id", f"There is no batch '{id}': see GET /v1/batches.")


class NotYours(Exception):
    """A line is not the driver's to submit: it is submitted, its batch has ended, or the token is revoked."""


def create(
    store: Store, caller: Mapping[str, Any], *, owner: str | None, token: str | None, input_file_id: str,
    metadata: Mapping[str, str] | None = None, output_seconds: int | None = None, now: float | None = None,
) -> Batch:  # fmt: skip
    """Add a batch that waits to be validated."""
    now = time.time() if now is None else now
    id = f"batch_{secrets.token_hex(16)}"
    batch = Batch(id, owner, caller, token, input_file_id, now, now + WINDOW, metadata=metadata, output_seconds=output_seconds)
    values = {
        "id": id, "owner": owner, "caller": json.dumps(caller), "token": token, "input_file_id": input_file_id,
        "metadata": None if metadata is None else json.dumps(metadata), "output_seconds": output_seconds,
        "status": batch.status, "total": 0, "completed": 0, "failed": 0, "created_at": now, "expires_at": batch.expires_at,
    }  # fmt: skip
    with store.changing() as connection:
        connection.execute(insert(batches).values(values))
    return batch


def get(store: Store, id: str, owner: str | None = None) -> Batch:
    """Return a batch; raise `NoSuchBatch` where there is none, or it is not the given owner's."""
    query = select(batches).where(batches.c.id == id)
    if owner is not None:
        query = query.where(batches.c.owner == owner)
    found = _read(store, query) if id.isprintable() else []
    if not found:
        raise NoSuchBatch(id)
    return found[0]


def page(store: Store, *, owner: str | None = None, after: str | None = None, limit: int = 20) -> list[Batch]:
    """Return a page of batches, the newest first, of one owner or of all; those behind the batch `after`."""
    c = batches.c
    query = select(batches)
    if owner is not None:
        query = query.where(c.owner == owner)
    if after is not None:
        seen = get(store, after, owner)
        query = query.where(or_(c.created_at < seen.created_at, and_(c.created_at == seen.created_at, c.id < seen.id)))
    return _read(store, query.order_by(c.created_at.desc(), c.id.desc()).limit(limit))


def cancel(store: Store, id: str, owner: str | None = None, now: float | None = None) -> Batch:
    """Begin to cancel a batch; one that is canceled is left so. Raises `UnstrungError` where it is over."""
    get(store, id, owner)
    changes = {"status": BatchStatus.CANCELLING, "ending": BatchStatus.CANCELLED, "cancelling_at": _time(now)}
    before = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)
    with store.changing() as connection:
        connection.execute(update(batches).where(batches.c.id == id, batches.c.status.in_(before)).values(changes))
    batch = get(store, id, owner)
    if batch.ending is not BatchStatus.CANCELLED:
        raise UnstrungError("bad_status", "status", f"Batch {id} is {batch.status}: there is nothing left to cancel.")
    return batch


# what whoever drives batches does


def lease(store: Store, driver: str, now: float | None = None) -> list[Batch]:
    """Return the batches that are not over and that nobody else drives, the oldest first; from now on they are the driver's."""
    now, c = _time(now), batches.c
    alive = c.status.in_(ALIVE)
    fresh = and_(c.driver == driver, c.leased_until > now + LEASE / 2)
    free = or_(c.driver.is_(None), c.driver == driver, c.leased_until <= now)
    with store.reading() as connection:
        taken = connection.execute(select(c.id).where(alive, free, ~func.coalesce(fresh, False)).limit(1)).first()
    if taken:  # else there is nothing to write
        with store.changing() as connection:
            connection.execute(update(batches).where(alive, free).values(driver=driver, leased_until=now + LEASE))
    return _read(store, select(batches).where(alive, c.driver == driver).order_by(c.created_at, c.id))


def let_go(store: Store, driver: str) -> None:
    """Leave what one drives to others."""
    with store.changing() as connection:
        connection.execute(update(batches).where(batches.c.driver == driver).values(driver=None, leased_until=None))


def load(store: Store, batch: Batch, lines: Sequence[Line]) -> Batch | None:
    """Add the next lines to a batch that is validated; None where somebody else has gone on with it."""
    rows = [
        {"batch_id": batch.id, "line": line.number, "custom_id": line.custom_id, "state": LineState.WAITING,
         "body": json.dumps(line.body), "job_id": None, "result": None}
        for line in lines
    ]  # fmt: skip
    as_it_was = and_(
        batches.c.id == batch.id, batches.c.status == BatchStatus.VALIDATING, batches.c.total == batch.total
    )  # fmt: skip
    with store.changing() as connection:
        if not connection.execute(update(batches).where(as_it_was).values(total=batch.total + len(rows))).rowcount:
            return None
        connection.execute(insert(batch_lines), rows)
    return get(store, batch.id)


def begin(store: Store, batch: Batch, now: float | None = None) -> None:
    """Let a batch be fed that is loaded."""
    _step(store, batch.id, (BatchStatus.VALIDATING,), status=BatchStatus.IN_PROGRESS, in_progress_at=_time(now))


def refuse(store: Store, batch: Batch, errors: Sequence[LineError], now: float | None = None) -> None:
    """End a batch whose input is none."""
    told = json.dumps([asdict(error) for error in errors])
    _step(store, batch.id, (BatchStatus.VALIDATING,), status=BatchStatus.FAILED, failed_at=_time(now), errors=told)


def conclude(
    store: Store, batch: Batch, ending: BatchStatus, errors: Sequence[LineError] = (), now: float | None = None
) -> None:  # fmt: skip
    """Feed a batch no more: what is done will be written down, and then it will be `ending`."""
    told = json.dumps([asdict(error) for error in errors]) if errors else None
    before = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)
    changes = {"status": BatchStatus.FINALIZING, "ending": ending, "finalizing_at": _time(now), "errors": told}
    _step(store, batch.id, before, **changes)


def revoked(store: Store, batch: Batch) -> bool:
    """Say whether the token that made a batch has been revoked."""
    with store.reading() as connection:
        return connection.execute(select(_revoked(batch))).scalar_one() is not None


def waiting(store: Store, batch: Batch, limit: int) -> list[Line]:
    """Return the next lines that have no job."""
    c = batch_lines.c
    query = select(c.line, c.custom_id, c.body).where(c.batch_id == batch.id, c.state == LineState.WAITING)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(c.line).limit(limit)).all()
    return [Line(row.line, row.custom_id, json.loads(row.body)) for row in rows]


def submitted(store: Store, batch: Batch) -> list[OpenLine]:
    """Return the lines that have a job and are not settled."""
    c = batch_lines.c
    query = select(c.line, c.custom_id, c.job_id, jobs.c.status).outerjoin(jobs, jobs.c.id == c.job_id)
    query = query.where(c.batch_id == batch.id, c.state == LineState.SUBMITTED).order_by(c.line)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [OpenLine(row.line, row.custom_id, row.job_id, Status(row.status) if row.status else None) for row in rows]


def job_id(batch: Batch, line: int) -> str:
    """Return the id of the job that a line becomes: always the same one."""
    return f"video_{key_of(batch.id, line)}"


def take(connection: Connection, batch: Batch, line: int) -> None:
    """Say, in the transaction that adds its job, that a line has one; raise `NotYours` where it is not to have any."""
    c = batch_lines.c
    live = exists().where(batches.c.id == batch.id, batches.c.status == BatchStatus.IN_PROGRESS)
    mine = and_(c.batch_id == batch.id, c.line == line, c.state == LineState.WAITING, live, _revoked(batch).is_(None))
    changes = {"state": LineState.SUBMITTED, "job_id": job_id(batch, line), "body": None}
    if not connection.execute(update(batch_lines).where(mine).values(changes)).rowcount:
        raise NotYours


def settle(
    store: Store, batch: Batch, results: Mapping[int, tuple[LineState, dict[str, Any] | None]],
    before: LineState = LineState.SUBMITTED,
) -> None:  # fmt: skip
    """Say what has become of lines that are still as they were `before`: their last state, and what their answer will hold."""
    c = batch_lines.c
    if not results:
        return
    with store.changing() as connection:
        for line, (state, result) in results.items():
            still = and_(c.batch_id == batch.id, c.line == line, c.state == before)
            told = None if result is None else json.dumps(result)
            connection.execute(update(batch_lines).where(still).values(state=state, result=told, body=None))


def drop_waiting(store: Store, batch: Batch) -> None:
    """Drop the lines that have no job."""
    c = batch_lines.c
    with store.changing() as connection:
        mine = and_(c.batch_id == batch.id, c.state == LineState.WAITING)
        connection.execute(update(batch_lines).where(mine).values(state=LineState.DROPPED, body=None))


def settled(store: Store, batch: Batch, *states: LineState, at_once: int = 500) -> Iterator[tuple[int, str, Any]]:
    """Go through lines of these states in their order: number, custom id and result, or None."""
    c, last = batch_lines.c, 0
    while True:
        query = select(c.line, c.custom_id, c.result).where(c.batch_id == batch.id, c.state.in_(states), c.line > last)
        with store.reading() as connection:
            rows = connection.execute(query.order_by(c.line).limit(at_once)).all()
        for row in rows:
            yield row.line, row.custom_id, None if row.result is None else json.loads(row.result)
        if not rows:
            return
        last = rows[-1].line


def finish(
    store: Store, batch: Batch, output: StoredFile | None, errors: StoredFile | None, now: float | None = None
) -> bool:  # fmt: skip
    """End a batch with the files that were written for it, in one transaction; False where another has done it."""
    assert batch.ending
    c = batch_lines.c
    open_ = exists().where(c.batch_id == batch.id, c.state.in_([LineState.WAITING, LineState.SUBMITTED]))
    before = and_(batches.c.id == batch.id, batches.c.status == batch.status, ~open_)
    with store.changing() as connection:
        counts = _counts(connection, [batch.id])[batch.id]
        changes = {
            "status": batch.ending, f"{batch.ending}_at": _time(now), "driver": None, "leased_until": None,
            "output_file_id": output and output.id, "error_file_id": errors and errors.id,
            "completed": counts[0], "failed": counts[1],
        }  # fmt: skip
        if not connection.execute(update(batches).where(before).values(changes)).rowcount:
            return False
        for file in (output, errors):
            if file is not None:
                files.add(connection, file)
        connection.execute(delete(batch_lines).where(c.batch_id == batch.id))
        return True


def _step(store: Store, id: str, before: Sequence[BatchStatus], **changes: Any) -> None:
    over = changes["status"] not in ALIVE
    with store.changing() as connection:
        still = and_(batches.c.id == id, batches.c.status.in_(before))
        if connection.execute(update(batches).where(still).values(changes)).rowcount and over:
            connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == id))


def _revoked(batch: Batch) -> Any:
    named = select(tokens.c.revoked_at).where(tokens.c.name == batch.token, tokens.c.revoked_at.is_not(None))
    return named.scalar_subquery()


def _counts(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return how many lines of each batch are completed, and how many have failed."""
    c = batch_lines.c
    query = select(c.batch_id, c.state, func.count()).where(c.batch_id.in_(ids)).group_by(c.batch_id, c.state)
    out = dict.fromkeys(ids, (0, 0))
    for id, state, count in connection.execute(query):
        completed, failed = out[id]
        if state == LineState.COMPLETED:
            out[id] = completed + count, failed
        elif state in (LineState.FAILED, LineState.DROPPED):
            out[id] = completed, failed + count
    return out


def _read(store: Store, query: Any) -> list[Batch]:
    with store.reading() as connection:
        rows = connection.execute(query).all()
        alive = [row.id for row in rows if row.status in ALIVE]
        counts = _counts(connection, alive) if alive else {}
    return [_batch_of(row, *counts.get(row.id, (row.completed, row.failed))) for row in rows]


def _batch_of(row: Row[Any], completed: int, failed: int) -> Batch:
    return Batch(
        row.id, row.owner, json.loads(row.caller), row.token, row.input_file_id, row.created_at, row.expires_at,
        BatchStatus(row.status), BatchStatus(row.ending) if row.ending else None,
        None if row.metadata is None else json.loads(row.metadata), row.output_seconds,
        tuple(LineError(**error) for error in json.loads(row.errors or "[]")), row.output_file_id, row.error_file_id,
        row.total, completed, failed, {name: at for name in TIMES if (at := getattr(row, name)) is not None},
    )  # fmt: skip


def _time(now: float | None) -> float:
    return time.time() if now is None else now
