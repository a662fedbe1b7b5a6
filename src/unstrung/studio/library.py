"""One's own videos, searched and sorted. They are looked through here: a search has to fold case in every language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from unstrung.job import Job
from unstrung.jobs.store import Store

TOGETHER, MOST = 500, 20_000  # videos read at a time, and in all

SORTS: dict[str, tuple[Callable[[Job], Any] | None, bool]] = {  # by what, and whether the greatest comes first
    "newest": (None, True),
    "oldest": (None, False),
    "longest": (lambda job: job.seconds, True),
    "largest": (lambda job: (job.request.width or 0) * (job.request.height or 0), True),
    "words": (lambda job: job.request.prompt.casefold(), False),
}


def look_through(store: Store, owner: str | None, words: str, sort: str, most: int) -> list[Job]:
    """Return the first of an owner's videos, in an order of `SORTS`, whose prompts hold all of some words."""
    key, greatest_first = SORTS[sort]
    wanted = words.casefold().split()
    found: Iterator[Job] = (
        job for job in _all(store, owner, newest_first=key is not None or greatest_first) if _has(job, wanted)
    )
    if key is not None:
        found = iter(sorted(found, key=key, reverse=greatest_first))
    return list(islice(found, most))


def _has(job: Job, wanted: list[str]) -> bool:
    text = f"{job.request.prompt}\n{job.request.original_prompt or ''}".casefold()
    return all(word in text for word in wanted)


def _all(store: Store, owner: str | None, newest_first: bool) -> Iterator[Job]:
    after = None
    for _ in range(MOST // TOGETHER):
        page = store.page(owner=owner, after=after, limit=TOGETHER, newest_first=newest_first)
        yield from page
        if len(page) < TOGETHER:
            return
        after = page[-1].id
