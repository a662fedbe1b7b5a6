"""A store full of finished jobs, written straight into its tables, and how long it takes to answer (for bench/serve.py)."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, text

from unstrung import engine
from unstrung.job import Job, Status
from unstrung.jobs import store as stores
from unstrung.jobs.limits import DAY, Allowance
from unstrung.jobs.store import Store
from unstrung.jobs.tables import clips, events, jobs, usage
from unstrung.jobs.worker import Worker
from unstrung.recipe import Recipe
from unstrung.request import Request

OWNERS = 200  # one of whom, "owner0", has a fifth of all
CHUNK = 20_000  # jobs in a transaction
A_YEAR, BUSY_HOUR = 365 * 86400.0, 2000  # most jobs lie in the year before; so many ended within the last hour
WAITING = 100


def fill(url: str, count: int) -> int:
    """Write `count` finished jobs with their clips and events; return how many bytes the store takes."""
    store = Store(url)
    made = rows(count)
    begin, written = time.perf_counter(), 0
    while chunk := list(islice(made, CHUNK)):
        with store.engine.begin() as connection:
            if store.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA cache_size = -1000000")  # or inserts in random order read the disk
            for table, part in (("jobs", [c[0] for c in chunk]), ("clips", [c[1] for c in chunk])):
                write(connection, table, part)
            write(connection, "events", [event for c in chunk for event in c[2]])
        written += len(chunk)
        if written % 100_000 == 0:
            print(f"{written} jobs, {time.perf_counter() - begin:.0f} s", flush=True)
    with store.engine.begin() as connection:
        columns = [jobs.c.owner, jobs.c.completed_at, jobs.c.completed_at - jobs.c.started_at, jobs.c.seconds]
        lately = select(*columns).where(jobs.c.completed_at > time.time() - DAY)
        connection.execute(usage.insert().from_select(["owner", "at", "work", "seconds"], lately))
    with store.reads.connect() as connection:
        if store.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            size = connection.exec_driver_sql(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            ).scalar_one()
        else:
            connection.execute(text("VACUUM ANALYZE"))  # as its autovacuum does in time
            size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    store.close()
    return int(size)


def write(connection: Connection, table: str, part: list[tuple[Any, ...]]) -> None:
    """Write rows in the order of the table's columns, the quickest way that the database has."""
    columns = _names({"jobs": jobs, "clips": clips, "events": events}[table])
    raw = connection.connection.driver_connection
    assert raw is not None
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        raw.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", part)
    else:
        with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in part:
                copy.write_row(row)


Rows = tuple[tuple[Any, ...], tuple[Any, ...], list[tuple[Any, ...]]]


def rows(count: int) -> Iterator[Rows]:
    """Yield jobs with their clips and events, the oldest first."""
    rng, now = random.Random(0), time.time()
    for n in range(count):
        late = count - n <= min(BUSY_HOUR, count // 2)
        created = now - 3500 * (count - n) / BUSY_HOUR if late else now - 3700 - A_YEAR * (count - n) / count
        owner = f"owner{rng.randrange(OWNERS) if rng.random() > 0.2 else 0}"
        yield row(f"video_{rng.getrandbits(128):032x}", owner, created, n)


def row(id: str, owner: str, created: float, n: int) -> Rows:
    """Return one job's row, its clip's and its events'."""
    prompt = f"a red fox number {n} runs through the snow at night while the moon rises over the hills"
    request = Request(prompt, model="echo", width=640, height=360, seconds=5.0, fps=24, num_inference_steps=4, seed=n)
    asked = json.dumps(request.to_dict())
    recipe = Recipe(
        request.to_dict(), {**request.to_dict(), "num_frames": 120}, {"id": "echo", "revision": "1", "license": "Apache-2.0"}, n,
        {"sha256": f"{n:064x}", "width": 640, "height": 360, "num_frames": 120, "fps": 24},
        seconds={"sample": 1.5, "decode": 0.2}, software={"unstrung": "0.1.0", "python": "3.11"}, device={"name": "cpu"},
    )  # fmt: skip
    job = {
        "id": id, "owner": owner, "status": "completed", "draft": 0, "progress": 100, "model": "echo", "request": asked,
        "seconds": 5.0, "estimate": 2.0, "public": int(n % 50 == 0), "created_at": created, "queued_at": created,
        "started_at": created + 5, "completed_at": created + 7, "expires_at": None, "error_code": None, "error_message": None,
        "remixed_from_video_id": None, "attempt": 1, "worker": "host:1:1", "heartbeat_at": created + 7, "events": 4,
    }  # fmt: skip
    clip = {
        "job_id": id, "owner": owner, "file": f"{id}-1.mp4", "bytes": 400_000 + n % 1000, "sha256": f"{n:064x}",
        "recipe": recipe.to_json(), "created_at": created + 7,
    }  # fmt: skip
    said = [
        (id, 1, created, "state", '{"status": "queued"}'), (id, 2, created + 5, "state", '{"status": "in_progress"}'),
        (id, 3, created + 6, "progress", '{"progress": 45}'), (id, 4, created + 7, "state", '{"status": "completed"}'),
    ]  # fmt: skip
    return tuple(job[c] for c in _names(jobs)), tuple(clip[c] for c in _names(clips)), said


def ask(url: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Ask the store as the server and the worker do; return the milliseconds of each question."""
    store = Store(url)
    echo = engine.check(Request("a fox", model="echo", width=64, height=48, num_frames=9, seed=1)).target
    for n in range(WAITING):
        store.add(Job(f"video_waiting{n:026}", echo, created_at=time.time(), owner=f"owner{n % 20}", estimate=2.0))
    deep: dict[str | None, str] = {}
    with store.reads.connect() as connection:
        for owner in (None, "owner0"):
            c = jobs.c
            query = select(c.id).order_by(c.created_at.desc()).limit(1).offset(100_000 if owner is None else 20_000)
            found = connection.execute(query.where(c.owner == owner) if owner else query).scalar_one_or_none()
            deep[owner] = found or store.page(limit=20)[-1].id
    some = store.page(limit=1)[0]
    wide = Allowance(concurrent_jobs=10**6, seconds_a_day=1e9, storage_bytes=10**15)
    questions: dict[str, Callable[[int], object]] = {
        "page": lambda n: store.page(limit=21), "page, deep": lambda n: store.page(limit=21, after=deep[None]),
        "page of one owner": lambda n: store.page(owner="owner0", limit=21),
        "page of one owner, deep": lambda n: store.page(owner="owner0", limit=21, after=deep["owner0"]),
        "page of one with nothing": lambda n: store.page(owner="nobody", limit=21),
        "page, oldest first": lambda n: store.page(limit=21, newest_first=False),
        "page, published": lambda n: store.page(public=True, limit=21),
        "page, running": lambda n: store.page(status=Status.IN_PROGRESS, limit=100),
        "get": lambda n: store.get(some.id), "turns, 100 waiting": lambda n: store.turns(),
        "add within limits": lambda n: store.add(
            Job(f"video_added{time.time_ns()}", echo, created_at=time.time(), owner="owner0"), wide
        ),
        "claim": lambda n: store.claim("bench"),
        "release": lambda n: store.release(silent_since=time.time() - 1000),
        "used in the last hour": lambda n: _used(store),
    }  # fmt: skip
    times: dict[str, list[float]] = {}
    for name, question in questions.items():
        question(-1)
        times[name] = []
        for n in range(min(rounds, WAITING - 10) if name == "claim" else rounds):
            begin = time.perf_counter()
            question(n)
            times[name].append(1000 * (time.perf_counter() - begin))
        print(f"{name}: {sorted(times[name])[len(times[name]) // 2]:.2f} ms", flush=True)
    worker = Worker(store, folder)
    worker.clips.mkdir(exist_ok=True)
    begin = time.perf_counter()
    worker.sweep()
    times["a worker's sweep"] = [1000 * (time.perf_counter() - begin)]
    store.close()
    return times


def _used(store: Store) -> object:
    with store.reads.connect() as connection:
        return stores._used(connection, time.time())


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]
