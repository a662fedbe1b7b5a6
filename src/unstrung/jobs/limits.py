"""How much an owner may have at once, a day and in all: counted in the transaction that adds the job."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from unstrung.errors import UnstrungError
from unstrung.job import Job, Status
from unstrung.jobs.tables import clips, files, is_now, jobs, uploads, usage
from unstrung.request import Request

DAY = 86400.0


@dataclass(frozen=True)
class Allowance:
    """How much a token's owner may have; None is no limit."""

    concurrent_jobs: int | None = None  # that wait or run
    seconds_a_day: float | None = None  # of video that was made, deleted or not, and of what waits or runs
    storage_bytes: int | None = None  # of finished clips and of files
    largest_pixels: int | None = None  # width x height
    requests_a_minute: int | None = None


class OverLimit(UnstrungError):
    """The owner has as much as the token allows; `for_ever` where waiting and deleting won't help."""

    def __init__(self, field: str, message: str, *, for_ever: bool = False) -> None:
        super().__init__("over_limit", field, message)
        self.for_ever = for_ever


def check_size(resolved: Request, allowance: Allowance) -> None:
    """Raise `OverLimit` for a picture that is larger than allowed."""
    assert resolved.width and resolved.height
    most = allowance.largest_pixels
    if most is not None and resolved.width * resolved.height > most:
        words = f"size is {resolved.width}x{resolved.height}; this token allows {most} pixels, such as {_sixteen_nine(most)}."
        raise OverLimit("size", words, for_ever=True)


def check_amount(connection: Connection, job: Job, allowance: Allowance) -> None:
    """Raise `OverLimit` where one more job would be more than its owner may have. Call it where nobody else can add one."""
    c, mine = jobs.c, jobs.c.owner == job.owner
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(job.owner or ""))))
    if allowance.concurrent_jobs is not None:
        # one by one, each found in the index of what is unfinished
        counts = (select(func.count()).where(mine, is_now(status)) for status in (Status.QUEUED, Status.IN_PROGRESS))
        if sum(connection.execute(count).scalar_one() for count in counts) >= allowance.concurrent_jobs:
            words = f"{allowance.concurrent_jobs} of your videos wait or are being made, and this token allows no more at once."
            raise OverLimit("concurrent_jobs", words)
    if allowance.seconds_a_day is not None:
        sums = [
            select(func.sum(usage.c.seconds)).where(usage.c.owner == job.owner, usage.c.at > time.time() - DAY),
            *(select(func.sum(c.seconds)).where(mine, is_now(status)) for status in (Status.QUEUED, Status.IN_PROGRESS)),
        ]
        used = sum(float(connection.execute(one).scalar_one() or 0) for one in sums)
        if used + job.seconds > allowance.seconds_a_day:
            words = (
                f"You have asked for {used:g} s of video within a day, and this would be {job.seconds:g} more; this token allows "
                f"{allowance.seconds_a_day:g} s."
            )
            raise OverLimit("seconds", words, for_ever=job.seconds > allowance.seconds_a_day)


def check_storage(connection: Connection, owner: str | None, allowance: Allowance, more: int = 1) -> None:
    """Raise `OverLimit` where an owner's files would take more room than there is for them; it reads all their sizes."""
    most = allowance.storage_bytes
    if most is None:
        return
    sums = [select(func.coalesce(func.sum(t.c.bytes), 0)).where(t.c.owner == owner) for t in (clips, files, uploads)]
    held = sum(int(connection.execute(one).scalar_one()) for one in sums)
    if held + more > most:
        words = f"Your clips and files take {held} bytes; this token allows {most}: delete some first."
        raise OverLimit("storage", words)


def _sixteen_nine(pixels: int) -> str:
    height = int((pixels * 9 / 16) ** 0.5) // 2 * 2
    return f"{int(height * 16 / 9) // 2 * 2}x{height}"
