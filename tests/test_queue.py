"""Whose turn it is: fairness by playing it through."""

from __future__ import annotations

from unstrung.jobs.queue import DRAFT_LEAD, Waiting, choose, forecast, left
from unstrung.jobs.timing import Timing
from unstrung.request import Request


def waiting(owner: str, count: int, *, estimate: float = 10.0, since: float = 0.0, draft: bool = False) -> list[Waiting]:
    return [Waiting(f"{owner}{n:03}", owner, draft, since + n, estimate) for n in range(count)]


def test_a_hundred_jobs_delay_one_by_at_most_one() -> None:
    turns = forecast([*waiting("many", 100), *waiting("one", 1, since=1000)], {}, [0.0])
    position = next(t.position for t in turns if t.id == "one000")
    assert position <= 1 and len(turns) == 101


def test_who_used_least_goes_next_whoever_came_first() -> None:
    jobs = [*waiting("early", 3), *waiting("late", 3, since=50)]
    assert [t.id for t in forecast(jobs, {"early": 25.0}, [0.0])] == [
        "late000",
        "late001",
        "late002",
        "early000",
        "early001",
        "early002",
    ]
    assert choose(jobs, {"early": 25.0}) == jobs[3]
    assert choose([], {}) is None


def test_equals_take_turns() -> None:
    order = [t.id[0] for t in forecast([*waiting("a", 3), *waiting("b", 3)], {}, [0.0])]
    assert order == ["a", "b"] * 3


def test_drafts_go_first_but_cannot_keep_finals_waiting() -> None:
    jobs = [*waiting("final", 1), *waiting("draft", 50, since=5, estimate=10, draft=True)]
    position = next(t.position for t in forecast(jobs, {}, [0.0]) if t.id == "final000")
    assert 1 <= position <= DRAFT_LEAD / 10 + 1


def test_two_workers_halve_the_wait_and_busy_ones_are_waited_for() -> None:
    jobs = waiting("a", 4)
    assert [t.starts_in for t in forecast(jobs, {}, [0.0])] == [0, 10, 20, 30]
    assert [t.starts_in for t in forecast(jobs, {}, [0.0, 0.0])] == [0, 0, 10, 10]
    assert [t.starts_in for t in forecast(jobs, {}, [7.0])] == [7, 17, 27, 37]


def test_the_next_turn_is_the_one_that_was_forecast() -> None:
    jobs = [*waiting("a", 5, estimate=3), *waiting("b", 2, since=1, estimate=20, draft=True), *waiting("c", 4, since=2)]
    used = {"a": 12.0, "b": 70.0}
    order = [t.id for t in forecast(jobs, used, [0.0])]
    left, spent, chosen = list(jobs), dict(used), []
    while job := choose(left, spent):
        left.remove(job)
        spent[job.owner] = spent.get(job.owner, 0.0) + job.estimate
        chosen.append(job.id)
    assert chosen == order


def test_a_longer_film_is_thought_to_take_longer() -> None:
    short = Request("x", width=64, height=64, num_frames=24, seconds=1.0, num_inference_steps=10)
    timing = Timing.measured(short, {"load": 1.0, "sample": 5.0, "decode": 0.5, "write": 0.5})
    assert timing.of(short) == 7.0
    longer = Request("x", width=64, height=64, num_frames=48, seconds=2.0, num_inference_steps=20)
    assert timing.of(longer) == 1 + 20 + 2
    assert timing.toward(Timing(3.0, timing.per_step, timing.per_pixel), 1).fixed == 2.0


def test_what_is_left_of_a_job_that_runs() -> None:
    assert left(30, 10, 0) == 20  # nothing is known but what it was thought to take
    assert left(30, 40, 5) == 0
    assert left(30, 40, 50) == 40  # it goes half as fast
    assert left(30, 3, 75) == 1
