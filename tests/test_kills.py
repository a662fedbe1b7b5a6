"""The server killed at random moments, with its worker or without: what was answered is kept, made once, and whole.

Twelve kills of each store in CI; the long form is `UNSTRUNG_KILLS=200 pytest tests/test_kills.py -s`, which says what it saw.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest

from unstrung.job import Status
from unstrung.jobs.store import LEASE, Store
from unstrung.jobs.worker import Worker
from unstrung.media.codec import read_clip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
FRAMES = 49


class Server:
    """`unstrung serve` in a session of its own, so that it can be killed alone or with its worker."""

    def __init__(self, folder: Path, store_url: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "UNSTRUNG_DATA": str(folder), "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, "-m", "unstrung", "serve", "--port", str(port), "--store", store_url]
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}/v1"
        self.client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=30)

    def answers(self) -> bool:
        """Say whether it does, yet."""
        try:
            self.client.videos.list(limit=1)
        except openai.APIConnectionError:
            return False
        return True

    def kill(self, how: str) -> None:
        """Kill the server alone, or everything that it started with it."""
        if how == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as its host would."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def worker(self) -> int | None:
        """Return the process id of its worker; None while there is none."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid), "-f", "unstrung worker"], capture_output=True, text=True)
        return int(found.stdout.split()[0]) if found.stdout else None


def ask(server: Server, n: int, answered: list[str]) -> None:
    """Ask for a video; note its id if the server lived to answer."""
    try:
        video = server.client.videos.create(
            prompt=f"a fox {n}", model="echo", size="640x360",  # type: ignore[arg-type]
            extra_body={"num_frames": FRAMES, "seed": n, "num_inference_steps": 8},
        )  # fmt: skip
    except openai.APIConnectionError:
        return
    answered.append(video.id)


def torment(folder: Path, store_url: str, rounds: int, jobs: int) -> tuple[list[str], int]:
    """Start and kill the server so many times while it is asked for videos; return what was answered, and how often nothing was."""
    rng, answered, asked = random.Random(0), list[str](), 0
    for n in range(rounds):
        server = Server(folder, store_url)
        asking: list[threading.Thread] = []
        if n % 10:  # one in ten dies at some moment of its start
            while not server.answers():
                time.sleep(0.02)
            while asked < jobs * (n + 1) // rounds:
                asking.append(threading.Thread(target=ask, args=(server, asked, answered)))
                asking[-1].start()
                asked += 1
        # while they ask, or later, while the worker works
        time.sleep(rng.random() * rng.choice((0.02, 0.1, 0.6, 2.0)))
        server.kill(rng.choice(("all", "server")))
        for thread in asking:
            thread.join()
    return answered, asked - len(answered)


@pytest.mark.parametrize("rounds", [int(os.environ.get("UNSTRUNG_KILLS", "12"))])
def test_a_killed_server_keeps_what_it_answered(store_url: str, tmp_path: Path, rounds: int) -> None:
    begin = time.monotonic()
    answered, unanswered = torment(tmp_path, store_url, rounds, jobs=min(50, rounds))
    store, server = Store(store_url), Server(tmp_path, store_url)
    try:
        end = time.monotonic() + 3 * LEASE + 10 * len(answered)
        while left := {job.id for job in store.page(limit=1000) if job.status is not Status.COMPLETED}:
            assert time.monotonic() < end, f"not made: {left}"
            for job in store.page(status=Status.FAILED, limit=1000):
                # three deaths are all that a job gets, and here they are not its fault
                assert job.error is not None and job.error.code == "worker_lost"
                store.retry(job.id)
            time.sleep(0.2)
        downloaded = server.client.videos.download_content(answered[0]).read()
    finally:
        server.stop()
    jobs = [job.id for job in store.page(limit=1000)]
    assert set(answered) <= set(jobs), "what was answered is kept"
    begun = 0
    for id in jobs:
        kept = store.clip(id)
        assert kept is not None
        path = tmp_path / "clips" / kept.file
        assert read_clip(path).num_frames == FRAMES and hashlib.sha256(path.read_bytes()).hexdigest() == kept.sha256
        said = store.events(id)
        assert [event.number for event in said] == list(range(1, len(said) + 1))
        states = [event.data["status"] for event in said if event.kind == "state"]
        assert states.count("completed") == 1 and states[-1] == "completed"
        begun += states.count("in_progress")
    assert hashlib.sha256(downloaded).hexdigest() == store.clip(answered[0]).sha256  # type: ignore[union-attr]
    Worker(store, tmp_path).sweep()
    left_there = {path.name for path in (tmp_path / "clips").glob("*.mp4")}
    assert left_there == store.files(jobs) and len(left_there) == len(jobs)
    kind, seconds = store.engine.dialect.name, time.monotonic() - begin
    print(
        f"\n{kind}: {rounds} kills, {len(answered)} jobs answered and {unanswered} not, {len(jobs)} kept, all made once and whole, "
        f"begun {begun} times, {seconds:.0f} s"
    )


def test_a_killed_worker_is_followed_by_another(tmp_path: Path) -> None:
    store_url = f"sqlite:///{tmp_path}/unstrung.db"
    store, server = Store(store_url), Server(tmp_path, store_url)
    try:
        while not server.answers():
            time.sleep(0.02)
        videos = server.client.videos
        ids = [
            videos.create(prompt="x", model="echo", size="640x360", seconds=seconds, extra_body={"num_inference_steps": 20}).id  # type: ignore[arg-type]
            for seconds in ("8", "1")
        ]
        while videos.retrieve(ids[0]).progress <= 5:  # until a step of it is done
            time.sleep(0.01)
        killed = server.worker()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert {videos.poll(id, poll_interval_ms=100).status for id in ids} == {"completed"}
        assert server.worker() not in (None, killed)
        assert [store.get(id).attempt for id in ids] == [2, 1]
        states = [event.data["status"] for event in store.events(ids[0]) if event.kind == "state"]
        assert states == ["queued", "in_progress", "queued", "in_progress", "completed"]
        for id, frames in zip(ids, (192, 24), strict=True):
            videos.download_content(id).write_to_file(tmp_path / "film.mp4")
            assert read_clip(tmp_path / "film.mp4").num_frames == frames
    finally:
        server.stop()
