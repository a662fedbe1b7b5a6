"""How soon the page is there, and what those who watch cost the worker: `python bench/studio.py`.

Two parts. The page: `unstrung studio` is started, and a Chromium of its own, with an empty profile, opens the page, again and
again; a time is from `goto` to the button that makes a film. Watching: jobs of the built-in model are made with nobody there
and while many watch (`watching.py`, which asks what the page's script asks), in turns, the one as often as the other; a
job's time is from where its worker took it to where its film was kept, as the store has it. The first job of a round
is not counted: until the page has seen that it began, nobody watches it. Then a few real Chromiums watch, and as many of
those that only ask like them, and what the server counted of both is put side by side.

The last line of stdout is one JSON document. Those who watch have the same cores as the server, and give way to all others;
the processor time that they took is told beside. A round in which programs that are not of this measurement took more of the
machine than `--calm` is made again. The targets: the page within 2 s; the worker keeps nine tenths of its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from serve import Server  # beside this file

from unstrung.job import ENDED
from unstrung.jobs.store import Store

FOX = {"prompt": "a red fox running through the snow at night", "model": "nano", "size": "640x360", "seed": 7}
TARGETS = {"page_s": 2.0, "cost": 0.1}
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
AROUND = 3.0  # seconds of a round before the first job and after the last one
TICKS = os.sysconf("SC_CLK_TCK")


class Studio(Server):
    """`unstrung studio` as whoever wants to make films starts it."""

    verb = ("studio", "--no-browser")

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}/studio/en/"

    def counted(self) -> Counter[str]:
        """Return how often each kind of request was answered, as the server itself counts them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = answer.read().decode()
        found = re.findall(
            r'^unstrung_http_requests_total\{method="(\w+)",route="(.*?)",status="(\d+)"\} (\S+)', text, re.MULTILINE
        )
        return Counter({f"{method} {route} {status}": int(float(n)) for method, route, status, n in found if route != "/metrics"})

    def submit(self, fields: dict[str, Any]) -> str:
        """Put a job into the queue and return its id."""
        headers = {"content-type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/videos", json.dumps(fields).encode(), headers)
        with urllib.request.urlopen(asked) as answer:
            return str(json.load(answer)["id"])


def spent(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / TICKS


def spent_by_all() -> float:
    """Return the seconds of processor time that everything on this machine has taken."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def wait_for_calm(cores: float) -> None:
    """Wait until other programs take no more than this of the machine, but no longer than a minute."""
    for _ in range(30):
        before = spent_by_all()
        time.sleep(2)
        if spent_by_all() - before <= 2 * cores:
            return


def with_children(pid: int) -> list[int]:
    """Return a process and all that it has started and that still live."""
    children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return [pid, *(found for child in children for found in with_children(int(child)))]


@dataclass
class Round:
    """What one round came to: seconds of each job that counts, and who took the processor meanwhile, in cores."""

    jobs: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cores: dict[str, float] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    told: dict[str, Any] = field(default_factory=dict)  # by those who watched


class Crowd:
    """A process that watches as so many browsers would."""

    def __init__(self, studio: Studio, count: int) -> None:
        command = [sys.executable, str(Path(__file__).with_name("watching.py")), str(studio.port), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        if self.process.stdout.readline() != "ready\n":
            sys.exit("those who watch did not come")

    def leave(self) -> dict[str, Any]:
        """Let them go, and return what they say."""
        return dict(json.loads(self.process.communicate()[0]))


class Browsers:
    """So many real browsers."""

    def __init__(self, studio: Studio, count: int) -> None:
        from playwright.sync_api import sync_playwright

        self.started = sync_playwright().start()
        self.chromium = self.started.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        for _ in range(count):
            page = self.chromium.new_context().new_page()
            page.goto(studio.page)
            page.locator("#board article").first.wait_for()

    def leave(self) -> dict[str, Any]:
        """Close them."""
        self.chromium.close()
        self.started.stop()
        return {}


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Watchers = Callable[[], Crowd | Browsers] | None


def play(studio: Studio, store: Store, jobs: int, film: dict[str, Any], watchers: Watchers, calm: float) -> Round:
    """Have jobs made one after the other, watched or not, beginning when other programs are calm."""
    store.pause(True)
    ids = [studio.submit(film) for _ in range(jobs)]
    watching = watchers() if watchers else None
    time.sleep(AROUND)
    bench, server, *workers = os.getpid(), *with_children(studio.process.pid)
    pids = {"bench": [bench], "server": [server], "worker": workers}
    if isinstance(watching, Crowd):
        pids["watchers"] = [watching.process.pid]
    wait_for_calm(calm)
    counted, since = studio.counted(), time.monotonic()
    store.pause(False)
    wait_for(store, ids[0])
    before, first = {who: sum(map(spent, some)) for who, some in pids.items()} | {"others": spent_by_all()}, time.monotonic()
    wait_for(store, ids[-1])
    after, seconds = (
        {who: sum(map(spent, some)) for who, some in pids.items()} | {"others": spent_by_all()},
        time.monotonic() - first,
    )
    took = {who: after[who] - before[who] for who in after}
    took["others"] -= sum(took[who] for who in pids)
    time.sleep(AROUND)
    found = Round(seconds=time.monotonic() - since, asked=studio.counted() - counted)
    found.cores = {who: round(each / seconds, 3) for who, each in took.items()}
    found.told = watching.leave() if watching else {}
    for id in ids[1:]:
        job = store.get(id)
        assert job.started_at and job.completed_at and job.error is None, job
        found.jobs.append(job.completed_at - job.started_at)
    for id in ids[:-3]:  # the page shows three that have ended: the next round finds as many
        store.remove(id)
    return found


def wait_for(store: Store, id: str) -> None:
    """Wait until a job has ended."""
    while store.get(id).status not in ENDED:
        time.sleep(0.1)


def watched(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure the worker's speed with nobody there and with many who watch, and what these ask."""
    with started(folder) as (studio, store):

        def crowd() -> Crowd:
            return Crowd(studio, args.watchers)

        film = {**FOX, "num_inference_steps": args.steps, "seconds": str(args.seconds)}
        kept: dict[str, list[Round]] = {"alone": [], "watched": []}
        play(studio, store, 3, film, None, args.calm)  # the model is read, and three films are there
        for made in range(1, 6 * args.rounds + 1):
            name = min(kept, key=lambda name: len(kept[name]))  # in turns, but that a disturbed round is made again
            turn = play(studio, store, args.jobs, film, crowd if name == "watched" else None, args.calm)
            calm = turn.cores["others"] <= args.calm
            kept[name] += [turn] * calm
            words = ", ".join(f"{seconds:.2f}" for seconds in turn.jobs)
            print(f"{made} {name}: {words} s; cores {turn.cores}{'' if calm else '; disturbed'}", flush=True)
            if len(kept["watched"]) == args.rounds:
                break
        out: dict[str, Any] = {"watchers": args.watchers, "steps": args.steps, "rounds_made": made}
        for name, turns in kept.items():
            times = sorted(seconds for turn in turns for seconds in turn.jobs)
            out[name] = {"rounds": len(turns), "jobs": len(times)}
            if times:
                cores = {who: round(median(turn.cores[who] for turn in turns), 3) for who in turns[0].cores}
                out[name] |= {
                    "median_s": round(median(times), 3),
                    "min_s": round(times[0], 3),
                    "max_s": round(times[-1], 3),
                    "cores": cores,
                }
        if kept["watched"]:
            out["speed_kept"] = round(out["alone"]["median_s"] / out["watched"]["median_s"], 3)
            out["cost"] = round(1 - out["speed_kept"], 3)
            out["watchers_cpu_s"] = round(sum(turn.told["cpu_seconds"] for turn in kept["watched"]), 2)
            out["broken"] = Counter(words for turn in kept["watched"] for words in turn.told["broken"])
            out["asked"] = pace(kept["watched"], args.watchers)
        if CHROMIUM and args.browsers:
            real = [play(studio, store, args.jobs, film, lambda: Browsers(studio, args.browsers), args.calm)]
            like = [play(studio, store, args.jobs, film, lambda: Crowd(studio, args.browsers), args.calm)]
            out["alike"] = {"browsers": args.browsers, "real": pace(real, args.browsers), "imitated": pace(like, args.browsers)}
            print(f"{args.browsers} real browsers ask {out['alike']['real']}, imitated {out['alike']['imitated']}", flush=True)
        return out


def pace(turns: Sequence[Round], watchers: int) -> dict[str, float]:
    """Return how often each watcher asked for what in a second."""
    total = sum((turn.asked for turn in turns), Counter[str]())
    seconds = sum(turn.seconds for turn in turns)
    return {kind: round(count / seconds / watchers, 3) for kind, count in sorted(total.items())}


@contextmanager
def started(folder: Path) -> Iterator[tuple[Studio, Store]]:
    """Start the page in a folder of its own."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        studio = Studio(folder, log=log)
        store = Store(studio.url)
        try:
            yield studio, store
        finally:
            store.close()
            studio.stop()


def pages(folder: Path, starts: int, visits: int) -> dict[str, Any] | None:
    """Measure how soon the page is there, for the first who comes after a start and for those after; None without a browser."""
    if CHROMIUM is None:
        return None
    from playwright.sync_api import sync_playwright

    first, later, up = list[float](), list[float](), list[float]()
    with sync_playwright() as playwright:
        for start in range(starts):
            since = time.monotonic()
            with started(folder / f"start{start}") as (studio, _):
                up.append(time.monotonic() - since)
                for visit in range(visits + 1):
                    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
                    page = chromium.new_page()
                    since = time.monotonic()
                    page.goto(studio.page)
                    page.locator("#generate").wait_for()
                    (later if visit else first).append(time.monotonic() - since)
                    chromium.close()
            print(
                f"start {start + 1}: up in {up[-1]:.2f} s, the page in {first[-1]:.2f} s, then in {later[-visits:]}", flush=True
            )
    every = {"up_s": up, "first_s": first, "later_s": later}
    return {name: {"count": len(t), "median": round(median(t), 2), "worst": round(max(t), 2)} for name, t in every.items()}


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Small numbers: that it runs, not how fast.")
    parser.add_argument("--only", choices=("page", "watch"), help="One part alone.")
    parser.add_argument("--rounds", type=int, help="Of each kind; default: 5.")
    parser.add_argument("--jobs", type=int, help="In a round, with the one that does not count; default: 3.")
    parser.add_argument("--steps", type=int, help="Of each job; default: 10.")
    parser.add_argument("--seconds", type=int, help="Of each job's film; default: 5.")
    parser.add_argument("--watchers", type=int, help="At once; default: 50.")
    parser.add_argument("--browsers", type=int, help="Real ones, to compare with; default: 3.")
    parser.add_argument("--calm", type=float, help="Cores that other programs may have in a round that counts; default: 0.1.")
    args = parser.parse_args()
    quick = {"rounds": 1, "jobs": 2, "steps": 2, "seconds": 1, "watchers": 4, "browsers": 1, "calm": float(os.cpu_count() or 1)}
    full = {"rounds": 5, "jobs": 3, "steps": 10, "seconds": 5, "watchers": 50, "browsers": 3, "calm": 0.1}
    for name, value in (quick if args.quick else full).items():
        setattr(args, name, value if getattr(args, name) is None else getattr(args, name))
    return args


def main() -> None:
    """Measure and print."""
    args = parse()
    out: dict[str, Any] = {"bench": "studio", "targets": TARGETS}
    with tempfile.TemporaryDirectory(prefix="unstrung-bench-") as name:
        if args.only in (None, "page"):
            out["page"] = pages(Path(name), *((1, 1) if args.quick else (3, 4)))
        if args.only in (None, "watch"):
            out["watch"] = watched(Path(name) / "watched", args)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    out["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    out |= {"commit": commit.stdout.strip() or None, "load_average": [round(n, 1) for n in os.getloadavg()]}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
