"""A piece of work that is waiting, running or done, and which status may follow which."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from unstrung.errors import UnstrungError
from unstrung.request import Request


class Status(StrEnum):
    """Where a job stands, in the Videos API's words."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELED)

# A worker that died leaves a job in progress: it may go back to the queue. A job that ended badly may be tried again.
MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.FAILED, Status.CANCELED}),
    Status.IN_PROGRESS: frozenset({Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.CANCELED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELED: frozenset({Status.QUEUED}),
}


@dataclass(frozen=True)
class JobError:
    """Why a job failed: `code` for programs, `message` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class Job:
    """One request on its way to one clip. Times are seconds since 1970."""

    id: str
    request: Request
    created_at: float
    status: Status = Status.QUEUED
    progress: int = 0  # per cent
    owner: str | None = None
    draft: bool = False  # a quick try: goes before finals, within reason
    public: bool = False  # its maker has published it: others may see it
    seconds: float = 0.0  # of video
    estimate: float = 0.0  # seconds of work that it is thought to be
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    error: JobError | None = None
    remixed_from_video_id: str | None = None
    attempt: int = 0
    worker: str | None = None

    def move(self, status: Status, **changes: Any) -> Job:
        """Return the job in another status; raise `UnstrungError` where the table does not allow the move."""
        if status not in MOVES[self.status]:
            allowed = ", ".join(sorted(MOVES[self.status])) or "nothing"
            raise UnstrungError("bad_status", "status", f"Job {self.id} is {self.status}; from there it goes to: {allowed}.")
        return replace(self, status=status, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON types."""
        return {**asdict(self), "status": str(self.status), "request": self.request.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Job:
        """Read a job from JSON types."""
        error = JobError(**data["error"]) if data.get("error") else None
        request = Request.from_dict(data["request"])
        return cls(**{**data, "status": Status(data["status"]), "request": request, "error": error})
