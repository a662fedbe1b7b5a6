"""Jobs and clips in a database: the only truth about them. SQLite by default, PostgreSQL by its address.

Every change of a job is one conditional statement, so that of two who want the same only one gets it, and whoever is
killed in between leaves the job as it was. Every change is also told as an event, in the same transaction.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pkgutil import iter_modules
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, false, func, insert, or_, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from unstrung.errors import UnstrungError
from unstrung.job import ENDED, MOVES, Job, JobError, Status
from unstrung.jobs import migrations, queue, webhooks
from unstrung.jobs.database import Database
from unstrung.jobs.limits import DAY, Allowance, check_amount, check_size, check_storage
from unstrung.jobs.tables import clips, events, is_now, is_public, jobs, keyed, settings, timings, usage, workers
from unstrung.jobs.timing import UNKNOWN_SECONDS, Timing
from unstrung.recipe import Recipe
from unstrung.request import Request

MAX_ATTEMPTS = 3
LEASE = 20.0  # seconds of silence after which a worker is thought dead
TOGETHER = 500  # ids in one question
MIGRATION_LOCK = 0x756E7374  # of PostgreSQL's advisory locks: "unst"

Also = Callable[[Connection], None]


@dataclass(frozen=True)
class JobEvent:
    """Something that was said of a job. `number` counts the job's events from 1, without gaps."""

    job_id: str
    number: int
    at: float
    kind: str  # "state", "progress", "preview" or "note"
    data: dict[str, Any]


@dataclass(frozen=True)
class News:
    """Where jobs stand, each with how many events it has, as far as they are there; and events, in their order."""

    standing: Mapping[str, tuple[Status, int]]
    said: Sequence[JobEvent]


@dataclass(frozen=True)
class StoredClip:
    """A finished clip: its file's name in the folder of clips, the SHA-256 of that file, and its recipe."""

    job_id: str
    owner: str | None
    file: str
    bytes: int
    sha256: str
    recipe: Recipe
    created_at: float


class NotFound(UnstrungError):
    """There is no such job, or it is somebody else's."""

    def __init__(self, id: str) -> None:
        super().__init__("not_found", "id", f"There is no job '{id}': see 'unstrung jobs list'.")


class Store:
    """A database of jobs, brought up to date when it is opened. Safe to use from several threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the store at an SQLAlchemy address; raise `UnstrungError` where there is none to open."""
        try:
            self._database = database = Database(url)
            self.engine, self.reads = database.engine, database.reads
            self.reading, self.changing, self.saying = database.reading, database.changing, database.saying
            with self.engine.begin() as connection:
                migrate(connection)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            reason = str(error).splitlines()[0]
            where = re.sub("//([^:@/]*):[^/]*@", r"//\1:***@", url)  # a password is not for the screen
            raise UnstrungError("no_store", "store", f"The store at '{where}' can't be opened: {reason}") from None

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()

    def submit(self, request: Request, resolved: Request, *, allowance: Allowance | None = None, **more: Any) -> Job:
        """Put a request into the queue as a new job; raise `OverLimit` where that is more than the allowance."""
        if allowance is not None:
            check_size(resolved, allowance)
        return self.add(self.new_job(request, resolved, **more), allowance)

    def new_job(self, request: Request, resolved: Request, *, id: str | None = None, **more: Any) -> Job:
        """Return a job for a request, not in the queue yet; `resolved` is what it comes to, and says how long it will take."""
        assert resolved.model and resolved.seed is not None and resolved.seconds is not None
        timing = self.timing(resolved.model)
        estimate = timing.of(resolved) if timing else UNKNOWN_SECONDS
        # model and seed are chosen now, so that a job that runs again makes the same clip
        request = replace(request, model=resolved.model, seed=resolved.seed)
        id = id or f"video_{secrets.token_hex(16)}"
        return Job(id, request, created_at=time.time(), seconds=resolved.seconds, estimate=estimate, **more)

    def add(self, job: Job, allowance: Allowance | None = None) -> Job:
        """Put a new job into the queue; raise `OverLimit`, and `UnstrungError` where its id is taken."""
        return self.add_all([job], allowance)[0]

    def add_all(
        self, new: Sequence[Job], allowance: Allowance | None = None, also: Also | None = None, body: str | None = None
    ) -> list[Job]:
        """Put new jobs into the queue, all or none; raise `OverLimit`, and `UnstrungError` where an id is taken.

        What `also` does is done in the same transaction: both, or where it raises, neither. With `body`, the digest of what
        was asked for, the jobs are found again by `body_of`.
        """
        if allowance is not None:
            self._check_storage(new[0].owner, allowance)
        with self.changing() as connection:
            if also is not None:
                also(connection)
            for job in new:
                assert job.status is Status.QUEUED and job.request.model
                if allowance is not None:
                    check_amount(connection, job, allowance)
                values = {**_row_of(job), "queued_at": job.created_at, "events": 1}
                try:
                    connection.execute(insert(jobs), values)
                except IntegrityError:
                    raise UnstrungError("id_taken", "id", f"There is a job '{job.id}' already.") from None
                _say(connection, job.id, 1, "state", {"status": job.status})
                if body is not None:
                    connection.execute(insert(keyed).values(job_id=job.id, body=body))
        return list(new)

    def check_room(self, new: Sequence[Job], allowance: Allowance) -> None:
        """Raise `OverLimit` where new jobs would be refused now; only adding them says for sure."""
        with self.reading() as connection:
            check_storage(connection, new[0].owner, allowance)
            check_amount(connection, new[0], allowance)

    def body_of(self, id: str) -> str | None:
        """Return the digest of what a job was asked for with; None where none was kept."""
        with self.reading() as connection:
            return connection.execute(select(keyed.c.body).where(keyed.c.job_id == id)).scalar_one_or_none()

    def _check_storage(self, owner: str | None, allowance: Allowance) -> None:
        # a job that is added takes no room yet, so that this may be asked outside the transaction that adds it
        with self.reading() as connection:
            check_storage(connection, owner, allowance)

    def find(self, id: str, owner: str | None = None, *, or_public: bool = False) -> Job | None:
        """Return a job; None where there is none, or where it is not the given owner's and, if that will do, not public."""
        query = select(jobs).where(jobs.c.id == id)
        if owner is not None:
            mine = jobs.c.owner == owner
            query = query.where(or_(mine, is_public()) if or_public else mine)
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _job_of(row)

    def get(self, id: str, owner: str | None = None, *, or_public: bool = False) -> Job:
        """Return what `find` does; raise `NotFound` where that is nothing."""
        job = self.find(id, owner, or_public=or_public)
        if job is None:
            raise NotFound(id)
        return job

    def page(
        self, *, owner: str | None = None, public: bool = False, status: Status | None = None, after: str | None = None,
        limit: int = 20, newest_first: bool = True,
    ) -> list[Job]:  # fmt: skip
        """Return a page of jobs by their time, of one owner or of all, or the published ones; those behind the job `after`."""
        c = jobs.c
        query = select(jobs)
        if owner is not None:
            query = query.where(c.owner == owner)
        if public:
            query = query.where(is_public())
        if status is not None:
            query = query.where(is_now(status))
        if after is not None:
            seen = self.get(after, owner, or_public=public)
            if public and not seen.public:  # of others' own videos nobody is told, not even that they are there
                raise NotFound(after)
            # compared as a pair, which both databases find in the index by one search
            place, last = tuple_(c.created_at, c.id), tuple_(seen.created_at, seen.id)
            query = query.where(place < last if newest_first else place > last)
        order = (c.created_at.desc(), c.id.desc()) if newest_first else (c.created_at, c.id)
        with self.reading() as connection:
            return [_job_of(row) for row in connection.execute(query.order_by(*order).limit(limit))]

    def claim(self, worker: str, now: float | None = None) -> Job | None:
        """Take the job whose turn it is for a worker; None where nothing waits or the queue is paused."""
        now = time.time() if now is None else now
        with self.changing() as connection:
            if _setting(connection, "paused") == "yes":
                return None
            chosen = queue.choose(_heads(connection), _used(connection, now))
            if chosen is None:
                return None
            row = _move(
                connection, chosen.id, Status.IN_PROGRESS, worker=worker, attempt=jobs.c.attempt + 1, started_at=now,
                heartbeat_at=now, progress=0,
            )  # fmt: skip
            return _job_of(row) if row else None  # on PostgreSQL another worker may have been faster

    def beat(self, job: Job, progress: int | None = None, now: float | None = None) -> bool:
        """Say that a worker still has a job, and how far it is; False where the job is not the worker's any more."""
        now = time.time() if now is None else now
        with self.saying() as connection:
            values: dict[str, Any] = {"heartbeat_at": now}
            if progress is not None:
                values["progress"] = case((jobs.c.progress > progress, jobs.c.progress), else_=progress)
            if not connection.execute(update(jobs).where(_held(job)).values(values)).rowcount:
                return False
            if progress is not None:
                _tell(connection, job.id, "progress", {"progress": progress}, now)
            return True

    def tell(self, job: Job, kind: str, data: dict[str, Any]) -> None:
        """Say something of a job that its worker holds, such as that there is a preview."""
        with self.saying() as connection:
            if connection.execute(select(jobs.c.id).where(_held(job))).one_or_none():
                _tell(connection, job.id, kind, data)

    def complete(self, job: Job, clip: StoredClip, timing: Timing | None = None) -> bool:
        """End a job with its clip, in one transaction; False where the job is not the worker's any more."""
        with self.changing() as connection:
            now = clip.created_at
            if not _move(connection, job.id, Status.COMPLETED, _held(job), completed_at=now, progress=100):
                return False
            connection.execute(insert(clips), _row_of_clip(clip))
            if timing is not None and job.request.model:
                _learn(connection, job.request.model, timing)
            return True

    def fail(self, job: Job, error: JobError) -> bool:
        """End a job that its worker holds, with the reason; False where the job is not the worker's any more."""
        with self.changing() as connection:
            changes = {"completed_at": time.time(), "error_code": error.code, "error_message": error.message}
            return _move(connection, job.id, Status.FAILED, _held(job), **changes) is not None

    def remove(self, id: str, owner: str | None = None) -> StoredClip | None:
        """Forget a job that has ended, and all that was said of it; return the clip whose file may go, if it has one.

        Raises `NotFound`, and `UnstrungError` for a job that waits or runs.
        """
        self.get(id, owner)
        clip = self.clip(id)
        ended = jobs.c.status.in_([Status.COMPLETED, Status.FAILED, Status.CANCELED])
        with self.changing() as connection:
            if not connection.execute(delete(jobs).where(jobs.c.id == id, ended)).rowcount:
                raise UnstrungError("bad_status", "status", f"Job {id} waits or is being made: cancel it first.")
            for table in (clips, events, keyed):
                connection.execute(delete(table).where(table.c.job_id == id))
        return clip

    def bring(self, arrivals: Sequence[tuple[Job, StoredClip | None]]) -> None:
        """Add jobs as they were elsewhere, with their clips: all or none. Raises `UnstrungError` where an id is taken."""
        try:
            with self.changing() as connection:
                for job, clip in arrivals:
                    queued_at = time.time() if job.status is Status.QUEUED else job.created_at
                    connection.execute(insert(jobs).values({**_row_of(job), "queued_at": queued_at, "events": 0}))
                    _tell(connection, job.id, "state", {"status": job.status})
                    if clip is not None:
                        connection.execute(insert(clips).values(_row_of_clip(clip)))
        except IntegrityError:
            raise UnstrungError("id_taken", "id", "Somebody else added one of these jobs just now: import them again.") from None

    def publish(self, id: str, public: bool, owner: str | None = None) -> Job:
        """Let others see a video, or no longer; raise `NotFound`."""
        self.get(id, owner)
        with self.changing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == id).values(public=int(public)))
        return self.get(id, owner)

    def give_back(self, job: Job) -> bool:
        """Put a job back into the queue that its worker won't finish, as if it had not been tried."""
        with self.changing() as connection:
            changes = {"worker": None, "progress": 0, "started_at": None, "attempt": jobs.c.attempt - 1}
            return _move(connection, job.id, Status.QUEUED, _held(job), **changes) is not None

    def cancel(self, id: str, owner: str | None = None) -> Job:
        """Take a job out of the queue, or stop it; raise `UnstrungError` where it has ended already."""
        return self._move_by_hand(id, owner, Status.CANCELED, completed_at=time.time())

    def retry(self, id: str, owner: str | None = None, allowance: Allowance | None = None) -> Job:
        """Put a job that failed or was canceled back into the queue; raise `OverLimit`, and `UnstrungError` for any other."""
        changes: dict[str, Any] = {
            "attempt": 0, "progress": 0, "started_at": None, "completed_at": None, "error_code": None, "error_message": None,
            "worker": None, "queued_at": time.time(),
        }  # fmt: skip
        ended = jobs.c.status != Status.IN_PROGRESS
        return self._move_by_hand(id, owner, Status.QUEUED, ended, allowance=allowance, **changes)

    def _move_by_hand(
        self, id: str, owner: str | None, status: Status, *where: Any, allowance: Allowance | None = None, **changes: Any
    ) -> Job:
        job = self.get(id, owner)
        if allowance is not None:
            self._check_storage(job.owner, allowance)
        with self.changing() as connection:
            if allowance is not None:
                check_amount(connection, job, allowance)
            row = _move(connection, id, status, *where, **changes)
        if row is None:
            self.get(id).move(status)  # says in words why not
            raise UnstrungError("bad_status", "status", f"Job {id} is being made: cancel it first.")
        return _job_of(row)

    def release(self, *, silent_since: float | None = None, worker: str | None = None) -> int:
        """Put jobs of dead workers back into the queue, or end those that killed `MAX_ATTEMPTS` of them; return how many.

        Dead is `worker`, where it is given, and whoever has not been heard of since `silent_since`.
        """
        silent = jobs.c.heartbeat_at < silent_since if silent_since is not None else false()
        lost = or_(silent, jobs.c.worker == worker if worker is not None else false())
        with self.changing() as connection:
            query = select(jobs.c.id, jobs.c.attempt, jobs.c.started_at).where(is_now(Status.IN_PROGRESS), lost)
            found = connection.execute(query).all()
            for id, attempt, started in found:
                if attempt < MAX_ATTEMPTS:
                    row = _move(connection, id, Status.QUEUED, lost, worker=None, progress=0, started_at=None)
                    if row is not None:
                        _use(connection, row, time.time() - started)
                else:
                    words = f"The worker died {attempt} times while it made this, and nobody knows why: try something smaller."
                    changes = {"completed_at": time.time(), "error_code": "worker_lost", "error_message": words}
                    _move(connection, id, Status.FAILED, lost, **changes)
        return len(found)

    def pause(self, paused: bool) -> None:
        """Stop giving out jobs, or go on; what runs, runs on."""
        with self.changing() as connection:
            connection.execute(delete(settings).where(settings.c.name == "paused"))
            connection.execute(insert(settings).values(name="paused", value="yes" if paused else "no"))

    def paused(self) -> bool:
        """Say whether the queue is paused."""
        with self.reading() as connection:
            return _setting(connection, "paused") == "yes"

    def secret(self) -> bytes:
        """Return what this store alone knows, for ids that others must not be able to derive."""
        with self.reading() as connection:
            found = _setting(connection, "secret")
        assert found
        return bytes.fromhex(found)

    def turns(self, now: float | None = None) -> list[queue.Turn]:
        """Return who is next, and when, for all that wait; times are guesses from measured ones.

        Where the queue is paused, or no worker is there, nobody knows when.
        """
        now = time.time() if now is None else now
        with self.reading() as connection:
            c = jobs.c
            rows = connection.execute(select(c.id, c.owner, c.draft, c.queued_at, c.estimate).where(is_now(Status.QUEUED))).all()
            running = connection.execute(
                select(c.worker, c.estimate, c.started_at, c.progress).where(is_now(Status.IN_PROGRESS))
            ).all()
            there = connection.execute(select(workers.c.name).where(workers.c.seen_at > now - LEASE)).scalars().all()
            used, paused = _used(connection, now), _setting(connection, "paused") == "yes"
        left = {worker: queue.left(estimate, now - started, progress) for worker, estimate, started, progress in running}
        busy = [] if paused else [left.get(name, 0.0) for name in there]
        waiting = [queue.Waiting(id, owner, bool(draft), at, estimate) for id, owner, draft, at, estimate in rows]
        return queue.forecast(waiting, used, busy)

    def work_of_others(self, owner: str) -> tuple[int, float]:
        """Return how many jobs of others wait or run, and how many seconds of work they were thought to be."""
        c = jobs.c
        unfinished = or_(is_now(Status.QUEUED), is_now(Status.IN_PROGRESS))
        query = select(func.count(), func.coalesce(func.sum(c.estimate), 0.0)).where(
            unfinished, func.coalesce(c.owner, "") != owner
        )
        with self.reading() as connection:
            count, seconds = connection.execute(query).one()
        return count, float(seconds)

    def attend(self, worker: str) -> None:
        """Say that a worker is there, at work or waiting for some; say it again within `LEASE`."""
        now = time.time()
        with self.saying() as connection:
            if not connection.execute(update(workers).where(workers.c.name == worker).values(seen_at=now)).rowcount:
                connection.execute(insert(workers).values(name=worker, seen_at=now))

    def leave(self, worker: str) -> None:
        """Say that a worker is not there any more."""
        with self.saying() as connection:
            connection.execute(delete(workers).where(workers.c.name == worker))

    def forget(self, now: float) -> None:
        """Forget what does not count any more: what was used more than a day ago, and workers that are gone."""
        with self.saying() as connection:
            connection.execute(delete(usage).where(usage.c.at < now - DAY))
            connection.execute(delete(workers).where(workers.c.seen_at < now - LEASE))

    def timing(self, model: str) -> Timing | None:
        """Return how long a model takes, as measured here; None where it has not run yet."""
        with self.reading() as connection:
            row = connection.execute(select(timings).where(timings.c.model == model)).one_or_none()
        return Timing(row.fixed, row.per_step, row.per_pixel) if row else None

    def clip(self, job_id: str) -> StoredClip | None:
        """Return the clip of a job, where there is one."""
        with self.reading() as connection:
            row = connection.execute(select(clips).where(clips.c.job_id == job_id)).one_or_none()
        if row is None:
            return None
        return StoredClip(**{**row._asdict(), "recipe": Recipe.from_json(row.recipe)})

    def files(self, job_ids: Iterable[str]) -> set[str]:
        """Return the names of the clips' files of some jobs."""
        found: set[str] = set()
        with self.reading() as connection:
            wanted = iter(job_ids)
            while some := list(islice(wanted, TOGETHER)):
                found.update(connection.execute(select(clips.c.file).where(clips.c.job_id.in_(some))).scalars())
        return found

    def known(self, job_ids: Iterable[str]) -> set[str]:
        """Return those of some jobs that are there."""
        found: set[str] = set()
        with self.reading() as connection:
            wanted = iter(job_ids)
            while some := list(islice(wanted, TOGETHER)):
                found.update(connection.execute(select(jobs.c.id).where(jobs.c.id.in_(some))).scalars())
        return found

    def events(self, job_id: str, after: int = 0) -> list[JobEvent]:
        """Return what was said of a job after its event number `after`."""
        query = select(events).where(events.c.job_id == job_id, events.c.number > after).order_by(events.c.number)
        with self.reading() as connection:
            return [_event_of(row) for row in connection.execute(query)]

    def news(self, heard: Mapping[str, int]) -> News:
        """Return where jobs stand, and what was said of each after the number that is given with it."""
        standing: dict[str, tuple[Status, int]] = {}
        said: list[JobEvent] = []
        c, ids = jobs.c, iter(heard)
        with self.reading() as connection:
            while some := list(islice(ids, TOGETHER)):
                rows = connection.execute(select(c.id, c.status, c.events).where(c.id.in_(some))).all()
                standing |= {id: (Status(status), count) for id, status, count in rows}
                newer = [and_(events.c.job_id == id, events.c.number > heard[id]) for id, _, count in rows if count > heard[id]]
                if newer:
                    query = select(events).where(or_(*newer)).order_by(events.c.job_id, events.c.number)
                    said += [_event_of(row) for row in connection.execute(query)]
        return News(standing, said)


def migrate(connection: Connection) -> None:
    """Bring the tables up to date, one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    connection.execute(text("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)"))
    done = set(connection.execute(text("SELECT name FROM migrations")).scalars())
    for name in sorted(module.name for module in iter_modules(migrations.__path__)):
        if name not in done:
            import_module(f"{migrations.__name__}.{name}").up(connection)
            connection.execute(text("INSERT INTO migrations VALUES (:name)"), {"name": name})
    known = {module.name for module in iter_modules(migrations.__path__)}
    if newer := sorted(done - known):
        raise ValueError(f"it is from a newer version of this program ({', '.join(newer)}): upgrade.")


def _held(job: Job) -> Any:
    """Return the condition that a job is still being made by the worker, and in the attempt, that it was given to."""
    c = jobs.c
    return and_(c.id == job.id, is_now(Status.IN_PROGRESS), c.worker == job.worker, c.attempt == job.attempt)


def _move(connection: Connection, id: str, status: Status, *where: Any, **changes: Any) -> Row[Any] | None:
    """Change a job's status in one statement, where the table of moves allows it; return it as it is then, or None."""
    allowed = [before for before, after in MOVES.items() if status in after]
    statement = update(jobs).where(jobs.c.id == id, jobs.c.status.in_(allowed), *where).values(status=status, **changes)
    row = connection.execute(statement.returning(jobs)).one_or_none()
    if row is not None:
        if status in ENDED and row.started_at is not None:
            _use(connection, row, row.completed_at - row.started_at, row.seconds if status is Status.COMPLETED else 0.0)
        said: dict[str, Any] = {"status": status}
        if row.error_code and status is Status.FAILED:
            said["error"] = {"code": row.error_code, "message": row.error_message}
        _tell(connection, id, "state", said)
        webhooks.announce(connection, row)
    return row


def _use(connection: Connection, row: Row[Any], work: float, seconds: float = 0.0) -> None:
    """Write down what a job has cost its owner, in seconds of work and of video: it counts, whatever becomes of the job."""
    connection.execute(insert(usage).values(owner=row.owner, at=time.time(), work=max(0.0, work), seconds=seconds))


def _tell(connection: Connection, id: str, kind: str, data: dict[str, Any], at: float | None = None) -> None:
    counted = update(jobs).where(jobs.c.id == id).values(events=jobs.c.events + 1).returning(jobs.c.events)
    _say(connection, id, connection.execute(counted).scalar_one(), kind, data, at)


def _say(connection: Connection, id: str, number: int, kind: str, data: dict[str, Any], at: float | None = None) -> None:
    values = {"job_id": id, "number": number, "at": time.time() if at is None else at, "kind": kind, "data": json.dumps(data)}
    connection.execute(insert(events), values)


def _heads(connection: Connection) -> list[queue.Waiting]:
    """Return the first draft and the first final of every owner."""
    c = jobs.c
    nth = func.row_number().over(partition_by=(c.owner, c.draft), order_by=(c.queued_at, c.id)).label("nth")
    lanes = select(c.id, c.owner, c.draft, c.queued_at, c.estimate, nth).where(is_now(Status.QUEUED)).subquery()
    rows = connection.execute(select(lanes).where(lanes.c.nth == 1))
    return [queue.Waiting(id, owner, bool(draft), at, estimate) for id, owner, draft, at, estimate, _ in rows]


def _used(connection: Connection, now: float) -> dict[str | None, float]:
    """Return the seconds of work that every owner has had in the last hour; what runs counts as its estimate."""
    c, u = jobs.c, usage.c
    # not by the owner itself: SQLite would read all there is in the order of owners
    ended = select(func.max(u.owner), func.sum(u.work)).where(u.at > now - queue.HOUR).group_by(func.coalesce(u.owner, ""))
    running = select(func.max(c.owner), func.sum(c.estimate)).where(is_now(Status.IN_PROGRESS))
    used: dict[str | None, float] = defaultdict(float)
    for query in (ended, running.group_by(func.coalesce(c.owner, ""))):
        for owner, seconds in connection.execute(query):
            used[owner] += seconds
    return used


def _learn(connection: Connection, model: str, timing: Timing) -> None:
    row = connection.execute(select(timings).where(timings.c.model == model)).one_or_none()
    mean = Timing(row.fixed, row.per_step, row.per_pixel).toward(timing, row.measured) if row else timing
    connection.execute(delete(timings).where(timings.c.model == model))
    connection.execute(insert(timings).values(model=model, measured=(row.measured if row else 0) + 1, **mean.to_dict()))


def _setting(connection: Connection, name: str) -> str | None:
    return connection.execute(select(settings.c.value).where(settings.c.name == name)).scalar_one_or_none()


def _row_of(job: Job) -> dict[str, Any]:
    error = job.error
    return {
        "id": job.id, "owner": job.owner, "status": job.status, "draft": int(job.draft), "public": int(job.public),
        "seconds": job.seconds, "progress": job.progress, "model": job.request.model,
        "request": json.dumps(job.request.to_dict()), "estimate": job.estimate, "created_at": job.created_at,
        "started_at": job.started_at, "completed_at": job.completed_at,
        "expires_at": job.expires_at, "error_code": error and error.code, "error_message": error and error.message,
        "remixed_from_video_id": job.remixed_from_video_id, "attempt": job.attempt, "worker": job.worker,
    }  # fmt: skip


def _row_of_clip(clip: StoredClip) -> dict[str, Any]:
    return {
        "job_id": clip.job_id, "owner": clip.owner, "file": clip.file, "bytes": clip.bytes, "sha256": clip.sha256,
        "recipe": clip.recipe.to_json(), "created_at": clip.created_at,
    }  # fmt: skip


def _event_of(row: Row[Any]) -> JobEvent:
    return JobEvent(row.job_id, row.number, row.at, row.kind, json.loads(row.data))


def _job_of(row: Row[Any]) -> Job:
    job = Job(
        id=row.id, request=Request.from_dict(json.loads(row.request)), created_at=row.created_at, status=Status(row.status),
        progress=row.progress, owner=row.owner, draft=bool(row.draft), public=bool(row.public),
        seconds=row.seconds, estimate=row.estimate, started_at=row.started_at, completed_at=row.completed_at,
        expires_at=row.expires_at, remixed_from_video_id=row.remixed_from_video_id, attempt=row.attempt, worker=row.worker,
    )  # fmt: skip
    return replace(job, error=JobError(row.error_code, row.error_message)) if row.error_code else job
