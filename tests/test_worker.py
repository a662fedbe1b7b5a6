"""The worker for real: its process killed at any instruction, clips whole, none lost, none made twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unstrung import engine
from unstrung.job import Job, Status
from unstrung.jobs.store import Store
from unstrung.jobs.worker import Worker, remove_pictures
from unstrung.media.codec import read_clip, read_recipe
from unstrung.request import Request

WORK = """
import sys
from pathlib import Path
from unstrung.jobs.store import Store
from unstrung.jobs.worker import Worker

Worker(Store(sys.argv[1]), Path(sys.argv[2])).run(lambda: False)
"""


def add(store: Store, id: str, **asked: object) -> Job:
    values: dict[str, object] = {"model": "echo", "width": 64, "height": 48, "num_frames": 9, "seed": 7, **asked}
    request = engine.check(Request("a fox", **values)).target  # type: ignore[arg-type]
    return store.add(Job(id, request, created_at=time.time(), owner="ann"))


def start(store_url: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen([sys.executable, "-c", WORK, store_url, str(folder)], env=environment)


def wait_for(store: Store, id: str, status: Status, seconds: float = 60) -> Job:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = store.get(id)
        if job.status is status:
            return job
        time.sleep(0.01)
    raise AssertionError(f"{id} is {store.get(id).status}, not {status}")


def test_a_job_becomes_a_clip_with_its_recipe(store_url: str, tmp_path: Path) -> None:
    store = Store(store_url)
    asked = add(store, "a")
    assert Worker(store, tmp_path).run(lambda: False, once=True) == 1
    done, kept = store.get("a"), store.clip("a")
    assert done.status is Status.COMPLETED and kept is not None and kept.owner == "ann"
    path = tmp_path / "clips" / kept.file
    assert read_clip(path).num_frames == 9 and read_recipe(path) == kept.recipe and kept.bytes == path.stat().st_size
    assert kept.recipe.resolved["seed"] == 7
    timing = store.timing("echo")
    assert timing is not None and timing.of(asked.request) > 0
    assert (tmp_path / "previews" / "a.png").exists()
    kinds = [event.kind for event in store.events("a")]
    assert "preview" in kinds and "note" in kinds and kinds.count("progress") >= 5


def test_what_cannot_be_made_says_why_and_the_next_job_is_made(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    bad = Request("a fox", model="echo", width=10_000, height=48)
    store.add(Job("bad", bad, created_at=time.time()))
    add(store, "good")
    worker = Worker(store, tmp_path)
    (tmp_path / "previews").mkdir()
    (tmp_path / "previews" / "good.png").mkdir()  # where no picture can be written
    assert worker.run(lambda: False, once=True) == 2
    failed = store.get("bad")
    assert failed.status is Status.FAILED and failed.error is not None and "width" in failed.error.message
    assert failed.request == bad, "what was asked for stays with the job"
    broken = store.get("good")
    assert broken.status is Status.FAILED and broken.error is not None
    (tmp_path / "previews" / "good.png").rmdir()
    store.retry("good")
    worker.run(lambda: False, once=True)
    assert store.get("good").status is Status.COMPLETED


def test_asked_to_stop_it_gives_its_job_back_untried(tmp_path: Path) -> None:
    environment = {**os.environ, "UNSTRUNG_DATA": str(tmp_path)}
    store = Store(f"sqlite:///{tmp_path}/unstrung.db")
    add(store, "long", width=1280, height=720, num_frames=1201, num_inference_steps=300)
    worker = subprocess.Popen([sys.executable, "-m", "unstrung", "worker"], env=environment)
    wait_for(store, "long", Status.IN_PROGRESS)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    waiting = store.get("long")
    assert (waiting.status, waiting.attempt, waiting.worker) == (Status.QUEUED, 0, None)


def test_the_queue_from_the_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "UNSTRUNG_DATA": str(tmp_path / "data")}

    def unstrung(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "unstrung", *words]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    small = ["--model", "echo", "--size", "64x48", "--seconds", "0.5"]
    added = json.loads(unstrung("a fox", "--queue", "--variants", "2", "--json", *small))["jobs"]
    assert [job["position"] for job in added] == [0, 1] and added[0]["request"]["seed"] + 1 == added[1]["request"]["seed"]
    first, second = (job["id"] for job in added)
    unstrung("jobs", "pause")
    assert json.loads(unstrung("jobs", "list", "--json"))["paused"]
    unstrung("worker", "--once")
    unstrung("jobs", "cancel", second)
    assert "canceled" in unstrung("jobs", "cancel", second, code=2)
    unstrung("jobs", "resume")
    unstrung("worker", "--once")
    assert "completed" in unstrung("jobs", "show", first) and "a fox" in unstrung("jobs", "list")
    assert "has no film" in unstrung("jobs", "save", second, code=2)
    assert "published" in unstrung("jobs", "publish", first) and "published" not in unstrung("jobs", "unpublish", first)
    assert json.loads(unstrung("seen", "--queue", "--public", "--json", *small))["jobs"][0]["public"]
    assert "--queue" in unstrung("seen", "--public", *small, code=2)
    assert unstrung("jobs", "save", first, "-o", "kept.mp4").strip() == "kept.mp4"
    assert "--force" in unstrung("jobs", "save", first, "-o", "kept.mp4", code=2)
    recipe = read_recipe(tmp_path / "kept.mp4")
    assert recipe.request == added[0]["request"] and read_clip(tmp_path / "kept.mp4").num_frames == 12
    assert "identical" in unstrung("remake", "kept.mp4")
    unstrung("jobs", "retry", second)
    unstrung("worker", "--once")
    assert json.loads(unstrung("jobs", "show", second, "--json"))["status"] == "completed"
    assert "no job 'video_nothing'" in unstrung("jobs", "show", "video_nothing", code=2)
    assert "640x360" in unstrung("a fox", "--queue", "--size", "big", code=2)
    other = f"sqlite:///{tmp_path}/elsewhere.db"
    last = ["--seed", str(2**63 - 1), "--variants", "2"]
    there = json.loads(unstrung("a bear", "--queue", "--store", other, "--json", *last, *small))["jobs"]
    assert [job["request"]["seed"] for job in there] == [2**63 - 1, 0], "after the last seed comes the first"
    assert "a bear" in unstrung("jobs", "list", "--store", other) and "a bear" not in unstrung("jobs", "list")
    assert "--queue" in unstrung("a bear", "--store", other, *small, code=2)


def test_cancel_stops_a_running_job_and_keeps_its_last_preview(store_url: str, tmp_path: Path) -> None:
    store = Store(store_url)
    add(store, "long", width=1280, height=720, num_frames=1201, num_inference_steps=300)
    add(store, "next")
    process = start(store_url, tmp_path)
    try:
        wait_for(store, "long", Status.IN_PROGRESS)
        while not (tmp_path / "previews" / "long.png").exists():
            time.sleep(0.01)
        store.cancel("long", "ann")
        at = store.get("long").progress
        wait_for(store, "next", Status.COMPLETED)
    finally:
        process.kill()
        process.wait()
    assert store.get("long").status is Status.CANCELED and store.get("long").progress == at < 100
    assert store.clip("long") is None and (tmp_path / "previews" / "long.png").exists()
    made = store.clip("next")
    assert made is not None and [p.name for p in (tmp_path / "clips").iterdir()] == [made.file]


def test_what_is_removed_while_it_is_made_leaves_nothing(store_url: str, tmp_path: Path) -> None:
    store = Store(store_url)
    add(store, "long", width=1280, height=720, num_frames=1201, num_inference_steps=300)
    process = start(store_url, tmp_path)
    try:
        while not (tmp_path / "previews" / "long.png").exists():
            time.sleep(0.01)
        store.cancel("long")
        store.remove("long")
        remove_pictures(tmp_path / "previews", "long")  # as a delete does, and the worker may be about to write another
        add(store, "next")
        wait_for(store, "next", Status.COMPLETED)
        assert {path.stem for path in (tmp_path / "previews").iterdir()} == {"next"}
    finally:
        process.kill()
        process.wait()
    stray, fresh = (tmp_path / "previews" / f"{name}.webp" for name in ("gone", "imported"))
    for path in (stray, fresh):
        path.write_bytes(b"RIFF")
    os.utime(stray, (0, 0))
    assert Worker(store, tmp_path).sweep() == 1 and not stray.exists() and fresh.exists()
    assert len(list((tmp_path / "previews").glob("next.*"))) == 3


def test_who_was_canceled_while_it_wrote_takes_no_film_away(store_url: str, tmp_path: Path) -> None:
    store = Store(store_url)
    add(store, "a", width=640, height=360, num_frames=240)
    late = start(store_url, tmp_path)
    try:
        while not list((tmp_path / "clips").glob(".*.part")):
            assert late.poll() is None and not list((tmp_path / "clips").glob("*.mp4")), "it wrote too fast to be caught"
            time.sleep(0.002)
        late.send_signal(signal.SIGSTOP)
        store.cancel("a", "ann")
        store.retry("a", "ann")
        assert Worker(store, tmp_path).run(lambda: False, once=True) == 1
        kept = store.clip("a")
        assert kept is not None and store.get("a").attempt == 1
        add(store, "next")
        late.send_signal(signal.SIGCONT)
        wait_for(store, "next", Status.COMPLETED)  # by whoever was late, when it had done with the other
    finally:
        late.kill()
        late.wait()
    assert store.get("a").status is Status.COMPLETED and store.clip("a") == kept
    film = tmp_path / "clips" / kept.file
    assert read_clip(film).num_frames == 240 and hashlib.sha256(film.read_bytes()).hexdigest() == kept.sha256
    assert {path.name for path in (tmp_path / "clips").glob("*.mp4")} == store.files(["a", "next"])


@pytest.mark.parametrize("rounds", [int(os.environ.get("UNSTRUNG_KILLS", "12"))])
def test_killed_at_any_instruction_every_job_is_made_once(store_url: str, tmp_path: Path, rounds: int) -> None:
    store = Store(store_url)
    big = {"width": 640, "height": 360, "num_frames": 97}
    jobs = [add(store, f"j{n:02}", seed=n, **big).id for n in range(max(8, rounds // 4))]
    rng = random.Random(0)
    process = start(store_url, tmp_path)
    for _ in range(rounds):
        # from the moment when it starts to long after it has begun to work, which may take it long
        begun = rng.random() < 0.5
        while begun and not store.page(status=Status.IN_PROGRESS, limit=1) and store.page(status=Status.QUEUED, limit=1):
            time.sleep(0.01)
        time.sleep(rng.random() * (0.4 if begun else 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for job in store.page(status=Status.IN_PROGRESS, limit=100):
            store.release(worker=job.worker)
        for job in store.page(status=Status.FAILED, limit=100):  # three times is all that a job gets; here it is not its fault
            assert job.error is not None and job.error.code == "worker_lost"
            store.retry(job.id)
        process = start(store_url, tmp_path)
    try:
        for id in jobs:
            wait_for(store, id, Status.COMPLETED)
    finally:
        process.kill()
        process.wait()
    Worker(store, tmp_path).sweep()
    interrupted = 0
    for id in jobs:
        kept = store.clip(id)
        assert kept is not None and read_clip(tmp_path / "clips" / kept.file).num_frames == 97
        states = [e.data["status"] for e in store.events(id) if e.kind == "state"]
        assert states.count("completed") == 1 and states[-1] == "completed"
        interrupted += states.count("in_progress") - 1
    assert interrupted >= rounds // 4, "most deaths come while there is work"
    left = {p.name for p in (tmp_path / "clips").iterdir() if p.suffix == ".mp4"}
    assert left == store.files(jobs) and len(left) == len(jobs)
