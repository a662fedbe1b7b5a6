"""Brings batches on: reads their files, feeds their lines into the queue as ordinary jobs, and writes their answers down.

One step at a time, each of which may be the last: what a step leaves is in the store, and the next one goes on from there.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.errors import STATUS, body_of
from unstrung.api.given import Intake, read_video
from unstrung.api.schema import video_of
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Status
from unstrung.jobs import batches, files
from unstrung.jobs.batches import Batch, BatchStatus, LineState, NotYours
from unstrung.jobs.files import StoredFile
from unstrung.jobs.limits import Allowance, OverLimit
from unstrung.jobs.lines import Line, LineError, answer, check, read_lines

PACE = 0.5  # seconds between two steps
AT_ONCE = (500, 4 * 2**20)  # lines, and bytes of them, that are loaded in one transaction
FEEDING_SECONDS = 2.0  # after which others have their turn, where lines that can't be made leave room for ever more
SWEEP_SECONDS = 60.0  # between two looks for files whose time is over

WHY = {
    BatchStatus.EXPIRED: ("batch_expired", "This was not done when the batch's 24 hours were over."),
    BatchStatus.CANCELLED: ("batch_cancelled", "The batch was canceled before this was done."),
    BatchStatus.FAILED: ("batch_failed", "The batch was stopped before this was done; its own errors say why."),
}


class Driver:
    """A thread that drives the batches of a store, as long as nobody else does."""

    def __init__(self, desk: Desk, say: Callable[[str], None]) -> None:
        self.desk, self.say = desk, say
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being taken, and leave the batches to others."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        swept = -SWEEP_SECONDS
        while not self._stopping.wait(PACE):
            try:
                drive(self.desk, self.name)
                if time.monotonic() - swept > SWEEP_SECONDS:
                    swept = time.monotonic()
                    files.sweep(self.desk.store, self.desk.folder)
            except Exception as error:  # a store or a disk that does not answer once is asked again
                self.say(f"batches wait: {str(error).partition(chr(10))[0]}")
        with suppress(SQLAlchemyError):
            batches.let_go(self.desk.store, self.name)


def drive(desk: Desk, name: str, now: float | None = None) -> None:
    """Bring every batch that is not over, and that nobody else drives, on by a step."""
    for batch in batches.lease(desk.store, name, now):
        try:
            step(desk, batch, time.time() if now is None else now)
        except SQLAlchemyError:
            raise
        except Exception:  # one batch that nobody foresaw does not stop the others; after 24 hours it expires
            logging.getLogger("unstrung.batches").error("broke", exc_info=True)


def step(desk: Desk, batch: Batch, now: float) -> None:
    """Bring a batch on by a step."""
    store = desk.store
    if batch.status in (BatchStatus.FINALIZING, BatchStatus.CANCELLING):
        return _close(desk, batch, now)
    if now >= batch.expires_at:
        return batches.conclude(store, batch, BatchStatus.EXPIRED, now=now)
    if batches.revoked(store, batch):
        error = LineError("token_revoked", f"The token '{batch.token}', with which this batch was made, has been revoked.")
        return batches.conclude(store, batch, BatchStatus.FAILED, [error], now)
    if batch.status is BatchStatus.VALIDATING:
        return _validate(desk, batch, now)
    _settle(desk, batch)
    _feed(desk, batch)
    if not batches.submitted(store, batch) and not batches.waiting(store, batch, 1):
        batches.conclude(store, batch, BatchStatus.COMPLETED, now=now)


def _validate(desk: Desk, batch: Batch, now: float) -> None:
    """Read a batch's file: refuse it whole, or load every line of it."""
    path = files.path_of(desk.folder, batch.input_file_id)
    if files.find(desk.store, batch.input_file_id, now=now) is None or not path.exists():
        words = f"The file {batch.input_file_id} is not there any more."
        return batches.refuse(desk.store, batch, [LineError("file_not_found", words, param="input_file_id")], now)
    if errors := check(path, desk.rules.caps.lines):
        return batches.refuse(desk.store, batch, errors, now)
    loaded: Batch | None = batch
    for lines in _packs(line for n, line in enumerate(read_lines(path)) if n >= batch.total):
        loaded = batches.load(desk.store, loaded, lines) if loaded else None
        if loaded is None:
            return  # canceled, or somebody else's by now
    assert loaded
    batches.begin(desk.store, loaded, now)


def _packs(lines: Iterable[Line | LineError]) -> Iterable[list[Line]]:
    pack: list[Line] = []
    size = 0
    for line in lines:
        assert isinstance(line, Line)
        pack.append(line)
        size += len(str(line.body))
        if len(pack) >= AT_ONCE[0] or size >= AT_ONCE[1]:
            yield pack
            pack, size = [], 0
    if pack:
        yield pack


def _settle(desk: Desk, batch: Batch) -> None:
    """Write down what has become of the lines whose jobs have ended."""
    results: dict[int, tuple[LineState, dict[str, Any] | None]] = {}
    for line in batches.submitted(desk.store, batch):
        if line.status is Status.CANCELED and batch.ending in WHY:
            results[line.number] = LineState.DROPPED, None
        elif line.status not in (Status.QUEUED, Status.IN_PROGRESS):
            results[line.number] = _result(desk, line.job_id)
    batches.settle(desk.store, batch, results)


def _result(desk: Desk, job_id: str) -> tuple[LineState, dict[str, Any]]:
    job = desk.store.find(job_id)
    if job is None:
        error = {"code": "video_deleted", "message": f"Video {job_id} was deleted."}
        return LineState.FAILED, {"response": None, "error": error}
    video = video_of(job, None)
    response = _response(200, video.model_dump())
    if job.status is Status.COMPLETED:
        return LineState.COMPLETED, {"response": response, "error": None}
    return LineState.FAILED, {"response": response, "error": video.error and video.error.model_dump()}


def _response(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"status_code": status, "request_id": f"req_{secrets.token_hex(16)}", "body": body}


def _feed(desk: Desk, batch: Batch) -> None:
    """Put the next lines into the queue: no more than wait at once, nor than the token allows."""
    store, caller = desk.store, _caller(batch)
    queued = sum(line.status is Status.QUEUED for line in batches.submitted(store, batch))
    until = time.monotonic() + FEEDING_SECONDS
    while queued < batches.MOST_WAITING and time.monotonic() < until:
        lines = batches.waiting(store, batch, batches.MOST_WAITING - queued)
        if not lines:
            return
        for line in lines:
            try:
                _submit(desk, batch, line, caller)
                queued += 1
            except NotYours:
                return
            except OverLimit as error:
                if not error.for_ever:
                    return  # until there is room again
                _refuse(desk, batch, line, error)
            except UnstrungError as error:
                _refuse(desk, batch, line, error)
            except SQLAlchemyError:
                raise
            except Exception as error:  # nobody foresaw this line: its maker learns of it, and the others are made
                logging.getLogger("unstrung.batches").error("broke", exc_info=True)
                words = f"Something broke here ({type(error).__name__}); the request may be tried again."
                _refuse(desk, batch, line, UnstrungError("internal_error", None, words))


def _submit(desk: Desk, batch: Batch, line: Line, caller: Caller) -> None:
    """Make a line a job, in the transaction that says that it is one."""
    with Intake(desk, caller) as sent:
        asked = read_video(desk, dict(line.body), caller, sent)
        if asked.variants != 1:
            raise InvalidRequest("n", f"n is {asked.variants}; a batch's line is one video: write more lines.")

        def also(connection: Connection) -> None:
            batches.take(connection, batch, line.number)
            sent.keep(connection)

        desk.submit(asked, caller, ids=[batches.job_id(batch, line.number)], also=also)


def _caller(batch: Batch) -> Caller:
    known = dict(batch.caller)
    return Caller(**{**known, "scopes": tuple(known["scopes"]), "allowance": Allowance(**known["allowance"])})


def _refuse(desk: Desk, batch: Batch, line: Line, error: UnstrungError) -> None:
    status = 500 if error.code == "internal_error" else STATUS.get(error.code, 400)
    body = body_of(status, error.message, error.code, error.field)
    result = {"response": _response(status, body), "error": None}
    batches.settle(desk.store, batch, {line.number: (LineState.FAILED, result)}, before=LineState.WAITING)


def _close(desk: Desk, batch: Batch, now: float) -> None:
    """Stop what is not done, wait until it has stopped, and write the answers down."""
    store = desk.store
    batches.drop_waiting(store, batch)
    for line in batches.submitted(store, batch):
        if line.status in (Status.QUEUED, Status.IN_PROGRESS):
            with suppress(UnstrungError):  # it has just ended by itself
                store.cancel(line.job_id)
    _settle(desk, batch)
    if batches.submitted(store, batch):
        return
    output = _write(desk, batch, "output", now, LineState.COMPLETED)
    errors = _write(desk, batch, "error", now, LineState.FAILED, LineState.DROPPED)
    if not batches.finish(store, batch, output, errors, now):
        for file in filter(None, (output, errors)):
            files.path_of(desk.folder, file.id).unlink(missing_ok=True)


def _write(desk: Desk, batch: Batch, what: str, now: float, *states: LineState) -> StoredFile | None:
    """Write the answers of lines in these states into a file; return None where there are no such lines."""
    code, message = WHY.get(batch.ending or BatchStatus.COMPLETED, ("", ""))
    dropped = {"response": None, "error": {"code": code, "message": message}}
    lines = batches.settled(desk.store, batch, *states)
    answers = (answer(batch.id, number, custom_id, result or dropped) for number, custom_id, result in lines)
    first = next(answers, None)
    if first is None:
        return None
    # a name of its own: who is slow, and not the driver any more, writes beside what is finished and not over it
    id = files.new_id()
    size = files.write(desk.folder, id, chain([first], answers))
    expires = None if batch.output_seconds is None else now + batch.output_seconds
    name = f"{batch.id}_{what}.jsonl"
    return StoredFile(id, batch.owner, "batch_output", name, files.LINES_KIND, size, now, expires)
