"""How the server bears many at once, and a full store: `python bench/serve.py`.

Starts `unstrung serve` with one worker on `echo` in a folder of its own, and lets clients live the whole life of a video all at
once; then one owner queues a hundred jobs and another one job; then stores are filled with finished jobs and asked. The last
line of stdout is one JSON document. Latencies are milliseconds as the client sees them, from sending to the last byte, and
the client has the same cores as the server. The targets: no error, p99 under 250 ms while the worker renders; whoever queues
one job waits for no more of the other's than one and those that run; list and claim under 20 ms among a million jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filled import ask, fill  # beside this file

from unstrung.job import Status
from unstrung.jobs.limits import Allowance
from unstrung.jobs.store import Store
from unstrung.jobs.tokens import Tokens

SMALL = {"prompt": "a red fox", "model": "echo", "width": 64, "height": 48, "num_frames": 9, "fps": 24}
TARGETS = {"p99_ms": 250.0, "store_ms": 20.0}


class Server:
    """`unstrung serve` as its host would start it."""

    verb: tuple[str, ...] = ("serve",)

    def __init__(self, folder: Path, workers: int = 1, store_url: str | None = None, log: IO[str] = sys.stderr) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, store_url or f"sqlite:///{folder / 'unstrung.db'}"
        options = ["--port", str(self.port), "--workers", str(workers), *(["--store", store_url] if store_url else [])]
        environment = {**os.environ, "UNSTRUNG_DATA": str(folder), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen([sys.executable, "-m", "unstrung", *self.verb, *options], env=environment, stderr=log)
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("the server does not answer")

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Line:
    """One connection that stays open, and how long each question on it took."""

    def __init__(self, port: int, token: str, took: dict[str, list[float]]) -> None:
        self.port, self.token, self.took = port, token, took

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, route: str, method: str, path: str, fields: dict[str, Any] | None = None) -> tuple[dict[str, str], bytes]:
        """Ask, note the time under the route's name, and return headers and body; raise `RuntimeError` for an error."""
        body = json.dumps(fields).encode() if fields else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        begin = time.perf_counter()
        self.writer.write(head.encode() + body)
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        answer = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.took[route].append(1000 * (time.perf_counter() - begin))
        if not first.split()[1].startswith("2"):
            raise RuntimeError(f"{method} {path}: {first} {answer.decode()[:200]}")
        return headers, answer


async def life(line: Line) -> None:
    """Create a video, poll it as OpenAI's client does, download it, list, delete it."""
    headers, answer = await line.ask("create", "POST", "/v1/videos", SMALL)
    id, pace = json.loads(answer)["id"], 0.0
    while True:
        headers, answer = await line.ask("retrieve", "GET", f"/v1/videos/{id}")
        status = json.loads(answer)["status"]
        if status not in ("queued", "in_progress"):
            break
        pace = pace or int(headers["openai-poll-after-ms"]) / 1000  # the client keeps the pace that it hears first
        await asyncio.sleep(pace)
    if status != "completed":
        raise RuntimeError(f"{id} is {answer.decode()}")
    _, film = await line.ask("content", "GET", f"/v1/videos/{id}/content")
    if film[4:8] != b"ftyp":
        raise RuntimeError(f"{id} is no film")
    await line.ask("list", "GET", "/v1/videos")
    await line.ask("delete", "DELETE", f"/v1/videos/{id}")


async def crowd(port: int, tokens: Sequence[str], arrive: float) -> tuple[dict[str, list[float]], list[str], float]:
    """Open all connections, then let all clients live; they begin within `arrive` seconds. Return times, errors and seconds."""
    took: dict[str, list[float]] = defaultdict(list)
    lines = [Line(port, token, took) for token in tokens]
    for line in lines:
        await line.open()
        await line.ask("first, with its token", "GET", "/v1/videos")  # scrypt is slow by intent: once for each token
    since = time.perf_counter()

    async def begin(n: int) -> None:
        await asyncio.sleep(arrive * n / len(lines))
        await life(lines[n])

    done = await asyncio.gather(*(begin(n) for n in range(len(lines))), return_exceptions=True)
    for line in lines:
        line.writer.close()
    return took, [f"{type(error).__name__}: {error}" for error in done if error is not None], time.perf_counter() - since


def spread(times: Sequence[float]) -> dict[str, float]:
    """Return how many there are, and where the half, 95 and 99 of a hundred end."""
    ordered = sorted(times)
    at = {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1) for p in (50, 95, 99)}
    return {"count": len(ordered), **at, "max": round(ordered[-1], 1)}


def many_clients(folder: Path, clients: int, arrive: float) -> dict[str, Any]:
    """Measure the API by route while one worker renders what many clients ask for."""
    server = Server(folder)
    try:
        tokens = give_tokens(server.url, [f"client{n}" for n in range(clients)])
        asyncio.run(crowd(server.port, tokens[: min(4, clients)], 0.0))  # modules are loaded, and the worker knows its model
        took, errors, seconds = asyncio.run(crowd(server.port, tokens, arrive))
    finally:
        server.stop()
    routes = {route: spread(times) for route, times in took.items()}
    every = spread([t for route, times in took.items() for t in times if route != "first, with its token"])
    words = {"clients": clients, "arrive_within_s": arrive, "seconds": round(seconds, 1)}
    return {**words, "errors": errors, "requests_per_second": round(every["count"] / seconds, 1), "all": every, "routes": routes}


def give_tokens(url: str, names: Sequence[str]) -> list[str]:
    """Return a new token for each name."""
    store = Store(url)
    given = [Tokens(store).create(name, allowance=Allowance(concurrent_jobs=1000))[1] for name in names]
    store.close()
    return given


def fair_share(folder: Path, jobs: int) -> dict[str, Any]:
    """Count how many of one owner's many jobs end while another's only one waits."""
    server = Server(folder)
    try:
        many, one = give_tokens(server.url, ("many", "one"))

        async def queue() -> str:
            first, second = Line(server.port, many, defaultdict(list)), Line(server.port, one, defaultdict(list))
            await first.open()
            await second.open()
            larger = {**SMALL, "width": 320, "height": 192}
            for _ in range(jobs):
                await first.ask("create", "POST", "/v1/videos", larger)
            while not json.loads((await first.ask("list", "GET", "/v1/videos?order=asc&limit=1"))[1])["data"][0]["completed_at"]:
                await asyncio.sleep(0.02)
            id = json.loads((await second.ask("create", "POST", "/v1/videos", larger))[1])["id"]
            while json.loads((await second.ask("retrieve", "GET", f"/v1/videos/{id}"))[1])["status"] != "completed":
                await asyncio.sleep(0.05)
            return str(id)

        id = asyncio.run(queue())
        store = Store(server.url)
        mine = store.get(id)
        ended = [job.completed_at for job in store.page(owner="many", status=Status.COMPLETED, limit=jobs)]
        assert mine.completed_at
        between = sum(mine.created_at < at < mine.completed_at for at in ended if at)
        store.close()
        return {
            "queued_before": jobs,
            "running": 1,
            "ended_between": between,
            "waited_s": round(mine.completed_at - mine.created_at, 2),
        }
    finally:
        server.stop()


@contextmanager
def postgres(folder: Path) -> Iterator[str | None]:
    """Start a PostgreSQL server of our own on loopback and give its address; None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        yield None
        return
    bin_, data = found[-1].parent, folder / "data"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user: list[str | Path] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody")
        folder.parent.chmod(folder.parent.stat().st_mode | 0o011)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c shared_buffers=512MB -c max_wal_size=8GB"
    subprocess.run([*as_user, bin_ / "initdb", "-D", data, "-U", "unstrung", "-A", "trust"], check=True, capture_output=True)
    start = [*as_user, bin_ / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://unstrung@127.0.0.1:{port}/postgres"
    finally:
        stop = [*as_user, bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL)


def full_store(folder: Path, url: str | None, jobs: int, rounds: int) -> dict[str, Any]:
    """Fill a store with finished jobs and measure what is asked of it, by itself and through the server."""
    folder.mkdir(exist_ok=True)
    url = url or f"sqlite:///{folder / 'unstrung.db'}"
    since = time.perf_counter()
    size = fill(url, jobs)
    filled = time.perf_counter() - since
    print(f"{jobs} jobs written in {filled:.0f} s: {size / 1e9:.2f} GB", flush=True)
    times = ask(url, folder, rounds)
    server = Server(folder, workers=0, store_url=url)
    try:
        took: dict[str, list[float]] = defaultdict(list)

        async def listed() -> None:
            line = Line(server.port, "none", took)
            await line.open()
            for n in range(rounds + 1):
                await line.ask("GET /v1/videos" if n else "first", "GET", "/v1/videos")

        asyncio.run(listed())
    finally:
        server.stop()
    times["GET /v1/videos"] = took["GET /v1/videos"]
    return {"jobs": jobs, "bytes": size, "fill_s": round(filled, 1), "ms": {name: spread(t) for name, t in times.items()}}


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Small numbers: that it runs, not how fast.")
    parser.add_argument("--jobs", type=int, help="Finished jobs in the store; default: a million.")
    parser.add_argument("--clients", type=int, help="At once; default: 200.")
    parser.add_argument(
        "--arrive", type=float, default=2.0, help="Seconds within which the clients begin; 0: all at the same moment."
    )
    parser.add_argument("--only", choices=("clients", "fair", "store"), help="One part alone.")
    parser.add_argument("--folder", type=Path, help="Where to put the stores; default: the folder for temporary files.")
    args = parser.parse_args()
    args.jobs = args.jobs or (2_000 if args.quick else 1_000_000)
    args.clients = args.clients or (8 if args.quick else 200)
    return args


def main() -> None:
    """Measure and print."""
    args = parse()
    out: dict[str, Any] = {"bench": "serve", "targets": TARGETS}
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="unstrung-bench-") as name:
        folder = Path(name)
        for part in ("load", "fair"):
            (folder / part).mkdir()
        if args.only in (None, "clients"):
            out["clients"] = many_clients(folder / "load", args.clients, args.arrive)
            print(f"{args.clients} clients: {out['clients']['all']} ms", flush=True)
        if args.only in (None, "fair"):
            out["fair"] = fair_share(folder / "fair", 10 if args.quick else 100)
            print(f"fair share: {out['fair']}", flush=True)
        if args.only in (None, "store"):
            rounds = 20 if args.quick else 200
            out["sqlite"] = full_store(folder / "full", None, args.jobs, rounds)
            shutil.rmtree(folder / "full")
            with postgres(folder / "postgres") as url:
                out["postgresql"] = full_store(folder / "full", url, args.jobs, rounds) if url else None
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    out["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    out |= {"commit": commit.stdout.strip() or None, "load_average": [round(n, 1) for n in os.getloadavg()]}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
