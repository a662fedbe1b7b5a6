"""How the store speaks to its database: who waits for whom, what is committed together, and which questions read everything."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError

from unstrung.errors import UnstrungError
from unstrung.job import Job, Status
from unstrung.jobs.database import Database
from unstrung.jobs.limits import Allowance
from unstrung.jobs.store import Store
from unstrung.request import Request


def job(id: str, owner: str | None = None) -> Job:
    return Job(id, Request("a fox", model="echo"), created_at=time.time(), owner=owner)


def test_who_reads_waits_for_no_writer(store_url: str) -> None:
    store, other = Store(store_url), Store(store_url)
    store.add(job("a"))
    with other.engine.begin() as writing:
        writing.execute(text("UPDATE jobs SET progress = 7"))
        assert store.get("a").progress == 0 and store.page() and store.turns() and not store.paused()
    assert store.get("a").progress == 7
    with store.reading() as reading:
        reading.execute(text("SELECT 1"))
        assert other.beat(other.claim("w"), 9), "and no writer for who reads"  # type: ignore[arg-type]


def test_many_changes_at_once_are_all_kept_and_one_that_fails_takes_none_along(store_url: str) -> None:
    store = Store(store_url)
    store.add(job("taken"))
    refused: list[str] = []

    def add(n: int) -> None:
        for m in range(10):
            try:
                store.add(job("taken" if (n + m) % 5 == 0 else f"j{n}-{m}", f"owner{n}"), Allowance(concurrent_jobs=7))
                assert store.find(f"j{n}-{m}") is not None, "kept when it is told"
            except UnstrungError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Store(store_url)
    kept = {j.id for j in again.page(limit=1000)}
    assert len(kept) == 1 + 20 * 7 and refused.count("over_limit") + refused.count("id_taken") == 20 * 3
    assert all(len(again.events(id)) == 1 for id in kept)


def test_where_the_disk_is_full_nobody_is_told_that_a_change_was_kept(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with database.changing() as connection:
        connection.execute(text("CREATE TABLE said (words TEXT)"))
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 40}")
        connection.rollback()
    kept, lost = [], []

    def say(n: int) -> None:
        try:
            with database.changing() as connection:
                connection.execute(text("INSERT INTO said VALUES (:words)"), {"words": f"{n:04}" * 2000})
            kept.append(f"{n:04}")
        except (SQLAlchemyError, OSError):
            lost.append(n)

    threads = [threading.Thread(target=say, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        there = {words[:4] for words in connection.execute(text("SELECT words FROM said")).scalars()}
    assert there == set(kept) and kept and lost and len(kept) + len(lost) == 60


@pytest.mark.parametrize("owner", [None, "ann"])
def test_no_question_that_is_asked_often_reads_every_job(tmp_path: Path, owner: str | None) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    for n in range(5):
        store.add(job(f"j{n}", owner))
    asked: list[tuple[str, Any]] = []
    for engine in store.engine, store.reads:
        event.listen(engine, "before_cursor_execute", lambda c, cursor, words, values, *_: asked.append((words, values)))
    wide = Allowance(concurrent_jobs=100, seconds_a_day=1e6, storage_bytes=10**9)
    store.add(job("more", owner), wide)
    store.claim("w")
    store.turns()
    store.release(silent_since=0.0)
    store.page(status=Status.IN_PROGRESS, limit=100)
    store.files(["j0", "j1"])
    for newest_first in True, False:
        store.page(owner=owner, after="j2", newest_first=newest_first)
        store.page(public=True, newest_first=newest_first)
    plans = []
    with store.reading() as connection:
        for words, values in list(asked):
            if words.startswith(("SELECT", "UPDATE", "DELETE")):
                plans += [(r[3], words) for r in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values)]
    assert len(plans) > 10
    in_order = ("jobs_by_time", "jobs_public", "(subquery", "anon_", "workers")  # a page reads as far as it is long
    whole = [(plan, words) for plan, words in plans if plan.startswith("SCAN") and not any(name in plan for name in in_order)]
    assert not whole
