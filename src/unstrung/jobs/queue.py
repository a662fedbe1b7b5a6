"""Whose turn it is, and when a turn will come: plain functions of what waits, what runs, and who has used how much.

The owner who has used least in the last hour goes next; of one owner's jobs, the one that came first. A draft goes before
finals as long as its owner has used no more than `DRAFT_LEAD` seconds more than the others: drafts are quick, and nobody
who sends nothing else can keep finals waiting.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

HOUR = 3600.0
TELLING = 10  # per cent: from then on, how fast a job goes says more than what it was thought to take
DRAFT_LEAD = 60.0  # seconds of work

Owner = str | None


@dataclass(frozen=True)
class Waiting:
    """A job that waits: whose it is, when it came, and how many seconds of work it is thought to be."""

    id: str
    owner: Owner
    draft: bool
    queued_at: float
    estimate: float


@dataclass(frozen=True)
class Turn:
    """What a job that waits can expect: how many go before it, and in how many seconds it begins and ends, if anybody works."""

    id: str
    position: int  # 0 is next
    starts_in: float | None
    ends_in: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return what can be expected as JSON types, in tenths of seconds."""
        times = {"starts_in": self.starts_in, "ends_in": self.ends_in}
        return {"position": self.position, **{name: at if at is None else round(at, 1) for name, at in times.items()}}


def choose(heads: Iterable[Waiting], used: Mapping[Owner, float]) -> Waiting | None:
    """Return the job whose turn it is; `heads` holds at least the first draft and the first final of every owner."""
    return min(heads, key=lambda w: _key(w, used), default=None)


def forecast(waiting: Sequence[Waiting], used: Mapping[Owner, float], busy: Sequence[float]) -> list[Turn]:
    """Return everybody's turn, in order, by playing the queue through.

    `busy` holds a number for every worker: in how many seconds it will be free. Where there is none, there are no times.
    """
    spent = defaultdict(float, used)
    lanes: dict[tuple[Owner, bool], deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda w: (w.queued_at, w.id)):
        lanes[job.owner, job.draft].append(job)
    heap = [(_key(lane[0], spent), name) for name, lane in lanes.items()]  # a key ends in a job's id: no two are alike
    heapq.heapify(heap)
    free = list(busy)
    heapq.heapify(free)
    turns: list[Turn] = []
    while heap:
        key, name = heapq.heappop(heap)
        lane = lanes[name]
        now = _key(lane[0], spent)
        if now != key:  # its owner has had a turn since
            heapq.heappush(heap, (now, name))
            continue
        job = lane.popleft()
        start = end = None
        if free:
            start = free[0]
            end = start + job.estimate
            heapq.heapreplace(free, end)
        turns.append(Turn(job.id, len(turns), start, end))
        spent[job.owner] += job.estimate
        if lane:
            heapq.heappush(heap, (_key(lane[0], spent), name))
    return turns


def left(estimate: float, passed: float, progress: int) -> float:
    """Return how many seconds of work are left of a job that runs: first from its estimate, then from how far it is."""
    if progress < TELLING:
        return max(0.0, estimate - passed)
    return passed * (100 - progress) / progress


def _key(job: Waiting, used: Mapping[Owner, float]) -> tuple[float, float, str]:
    return used.get(job.owner, 0.0) - DRAFT_LEAD * job.draft, job.queued_at, job.id
