"""The store, on SQLite and, where its server is installed, on PostgreSQL: what many do at once, and what the killed leave."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from unstrung.errors import UnstrungError
from unstrung.job import Job, JobError, Status
from unstrung.jobs import tables
from unstrung.jobs.limits import DAY, Allowance, OverLimit
from unstrung.jobs.store import LEASE, MAX_ATTEMPTS, NotFound, Store, StoredClip
from unstrung.jobs.timing import Timing
from unstrung.recipe import Recipe
from unstrung.request import Request


def job(id: str, owner: str | None = None, **more: object) -> Job:
    more = {"estimate": 10.0, **more}
    return Job(id, Request("a fox", model="echo"), created_at=time.time(), owner=owner, **more)  # type: ignore[arg-type]


def clip(of: Job) -> StoredClip:
    output = {"sha256": "0", "width": 2, "height": 2, "num_frames": 1, "fps": 24}
    recipe = Recipe({"prompt": "a fox"}, {"prompt": "a fox"}, {"id": "echo"}, 1, output)
    return StoredClip(of.id, of.owner, f"{of.id}-{of.attempt}.mp4", 10, "0", recipe, time.time())


@pytest.fixture
def store(store_url: str) -> Store:
    return Store(store_url)


def test_a_job_goes_its_way(store: Store) -> None:
    asked = store.add(job("a", "ann", draft=True, estimate=4.0))
    assert store.get("a") == asked
    mine = store.claim("w")
    assert mine is not None and (mine.status, mine.attempt, mine.worker) == (Status.IN_PROGRESS, 1, "w")
    assert store.claim("v") is None
    assert store.beat(mine, 40) and store.get("a").progress == 40
    assert store.beat(mine, 30) and store.get("a").progress == 40, "progress never goes back"
    store.tell(mine, "preview", {"step": 3})
    assert store.complete(mine, clip(mine), Timing(1, 2, 3)) and not store.complete(mine, clip(mine))
    done = store.get("a")
    assert done.status is Status.COMPLETED and done.progress == 100 and done.completed_at
    assert store.clip("a") == clip(mine) or store.clip("a").recipe == clip(mine).recipe  # type: ignore[union-attr]
    assert store.timing("echo") == Timing(1, 2, 3)
    said = store.events("a")
    assert [e.number for e in said] == list(range(1, len(said) + 1))
    assert [e.data.get("status", e.kind) for e in said] == [
        "queued", "in_progress", "progress", "progress", "preview", "completed",
    ]  # fmt: skip
    assert store.events("a", after=4) == said[4:]


def test_the_tables_are_what_the_migrations_make(store: Store, store_url: str) -> None:
    found = inspect(create_engine(store_url.replace("postgresql:", "postgresql+psycopg:")))
    for table in tables.metadata.sorted_tables:
        made = {c["name"]: c for c in found.get_columns(table.name)}
        assert set(made) == set(table.columns.keys())
        for column in table.columns:
            assert made[column.name]["nullable"] == column.nullable or column.primary_key, (table.name, column.name)
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_opened_again_the_queue_is_as_it_was(store: Store, store_url: str) -> None:
    store.add(job("a"))
    store.pause(True)
    again = Store(store_url)
    assert again.paused() and again.claim("w") is None
    again.pause(False)
    assert again.claim("w").id == "a"  # type: ignore[union-attr]


def test_a_store_of_a_newer_version_is_refused(store: Store, store_url: str) -> None:
    with create_engine(store_url.replace("postgresql:", "postgresql+psycopg:")).begin() as connection:
        connection.execute(text("INSERT INTO migrations VALUES ('m999_later')"))
    with pytest.raises(UnstrungError, match="newer version"):
        Store(store_url)


def test_a_store_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("this is no database, but it is long enough to be taken for one" * 20)
    for url in (f"sqlite:///{tmp_path}/no/such/folder/x.db", "nonsense", "postgresql://nobody@127.0.0.1:1/x"):
        with pytest.raises(UnstrungError, match="can't be opened"):
            Store(url)
    with pytest.raises(UnstrungError, match="can't be opened"):
        Store(f"sqlite:///{tmp_path}/notes.txt")


def test_of_many_who_want_it_each_job_goes_to_one(store: Store) -> None:
    for n in range(40):
        store.add(job(f"j{n:02}", f"owner{n % 3}"))
    got: list[str] = []
    lock = threading.Lock()

    def take(name: str) -> None:
        while mine := store.claim(name):
            with lock:
                got.append(mine.id)

    threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = []
    while mine := store.claim("last"):  # a claim may come back empty-handed where another was faster
        left.append(mine.id)
    assert sorted(got + left) == [f"j{n:02}" for n in range(40)]


def test_the_dead_give_their_jobs_back_three_times(store: Store) -> None:
    store.add(job("a"))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        mine = store.claim(f"w{attempt}", now=1000.0)
        assert mine is not None and mine.attempt == attempt
        assert store.release(silent_since=999.0) == 0
        assert store.release(silent_since=1001.0) == 1
        assert not store.beat(mine), "what was taken away is no longer its worker's"
        assert not store.complete(mine, clip(mine)) and not store.fail(mine, JobError("x", "y"))
    lost = store.get("a")
    assert lost.status is Status.FAILED and lost.error is not None and lost.error.code == "worker_lost"
    assert store.clip("a") is None
    again = store.retry("a")
    assert (again.status, again.attempt, again.error, again.request) == (Status.QUEUED, 0, None, Request("a fox", model="echo"))
    assert store.claim("w") is not None and store.release(worker="w") == 1 and store.release(worker="w") == 0


def test_cancel_and_retry_say_why_not(store: Store) -> None:
    store.add(job("a", "ann"))
    mine = store.claim("w")
    assert mine is not None and store.cancel("a", "ann").status is Status.CANCELED
    assert not store.beat(mine, 50), "its worker learns of it with the next step"
    with pytest.raises(UnstrungError, match="canceled"):
        store.cancel("a")
    assert store.retry("a").status is Status.QUEUED
    store.claim("w")
    with pytest.raises(UnstrungError):
        store.retry("a")
    with pytest.raises(NotFound):
        store.cancel("a", "bob")
    with pytest.raises(NotFound):
        store.get("nothing")
    with pytest.raises(UnstrungError, match="already"):
        store.add(job("a"))


def test_pages_follow_one_another(store: Store) -> None:
    for n in range(25):
        store.add(Job(f"j{n:02}", Request("x", model="echo"), created_at=float(n // 2), owner="ann" if n % 5 else "bob"))
    seen, after = [], None
    while page := store.page(owner="ann", after=after, limit=6):
        seen += [j.id for j in page]
        after = page[-1].id
    assert seen == sorted((f"j{n:02}" for n in range(25) if n % 5), reverse=True)
    first = store.page(limit=100, newest_first=False)
    assert [j.id for j in first] == sorted(j.id for j in first) and len(first) == 25


def test_what_was_used_counts_whatever_becomes_of_the_job(store: Store) -> None:
    def turn_of(*owners: str) -> list[str | None]:
        for owner in owners:
            store.add(job(f"next-{owner}", owner))
        order = [store.get(turn.id).owner for turn in store.turns()]
        for owner in owners:
            store.cancel(f"next-{owner}")
            store.remove(f"next-{owner}")
        return order

    def begin(owner: str, seconds: float) -> Job:
        store.add(job(owner, owner, seconds=4.0))
        mine = store.claim("w", now=time.time() - seconds)
        assert mine is not None and mine.owner == owner
        return mine

    store.complete(done := begin("done", 40), clip(done))
    store.remove("done")
    begin("stopped", 30)
    store.cancel("stopped")
    store.retry("stopped")  # which forgets when it began
    store.cancel("stopped")
    begin("lost", 20)
    store.release(worker="w")  # a worker that its job kills
    store.cancel("lost")
    store.give_back(begin("back", 10))  # the worker was asked to stop: nobody's fault
    store.cancel("back")
    assert turn_of("done", "stopped", "lost", "back") == ["back", "lost", "stopped", "done"]
    with pytest.raises(OverLimit, match="4 s of video within a day"):
        store.add(job("more", "done", seconds=4.0), Allowance(seconds_a_day=7.0))
    store.add(job("more", "stopped", seconds=4.0), Allowance(seconds_a_day=7.0))
    store.forget(time.time())
    with pytest.raises(OverLimit, match="4 s of video within a day"):
        store.add(job("else", "done", seconds=4.0), Allowance(seconds_a_day=7.0))
    store.forget(time.time() + DAY)
    store.add(job("else", "done", seconds=4.0), Allowance(seconds_a_day=7.0))


def test_nobody_says_when_where_nobody_works(store: Store) -> None:
    def waits() -> list[float | None]:
        return [turn.starts_in for turn in store.turns()]

    for n in range(3):
        store.add(job(f"j{n}"))
    assert waits() == [None] * 3 and [turn.position for turn in store.turns()] == [0, 1, 2]
    store.attend("v")
    store.attend("w")
    store.attend("w")
    assert waits() == [0, 0, 10]
    now = time.time()
    assert store.claim("w", now)
    assert [turn.starts_in for turn in store.turns(now + 4)] == [0, 6], "one is free, the other in six seconds"
    store.pause(True)
    assert waits() == [None] * 2
    store.pause(False)
    store.leave("v")
    assert [turn.starts_in for turn in store.turns(now + 4)] == [6, 16]
    assert [turn.starts_in for turn in store.turns(now + 2 * LEASE)] == [None] * 2, "not heard of any more"


def test_work_that_was_had_counts_against_its_owner(store: Store) -> None:
    for owner in ("ann", "bob"):
        for n in range(2):
            store.add(job(f"{owner}{n}", owner))
    order = []
    while mine := store.claim("w", now=time.time() - 10):
        order.append(mine.owner)
        store.complete(mine, clip(mine))
    assert sorted(order[:2]) == sorted(order[2:]) == ["ann", "bob"], "nobody has a second turn before the other's first"
    store.add(job("carl0", "carl"))
    store.add(job("ann2", "ann", draft=True))
    assert [t.id for t in store.turns()] == ["ann2", "carl0"]
    for n in range(8):
        store.add(job(f"hog{n}", "ann", draft=True))
    position = next(t.position for t in store.turns() if t.id == "carl0")
    assert position < 5, "drafts too are counted"
