"""How long work takes: learned from what was measured, to say when a turn will come and to share work fairly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from unstrung.request import Request

UNKNOWN_SECONDS = 30.0  # what a model's first job is thought to take
REMEMBERED = 10  # a mean over about so many jobs
PER_STEP = ("encode", "prepare", "sample")
PER_PIXEL = ("decode", "finish", "write")


@dataclass(frozen=True)
class Timing:
    """What a model's work costs in seconds: `fixed`, for a step of a second of film, and for a pixel of a frame."""

    fixed: float
    per_step: float
    per_pixel: float

    @classmethod
    def measured(cls, request: Request, seconds: Mapping[str, float]) -> Timing:
        """Return what a job took, from its resolved request and its seconds by stage."""
        steps, pixels = _size(request)
        by_step, by_pixel = (sum(seconds.get(stage, 0.0) for stage in stages) for stages in (PER_STEP, PER_PIXEL))
        return cls(max(0.0, sum(seconds.values()) - by_step - by_pixel), by_step / steps, by_pixel / pixels)

    def toward(self, other: Timing, count: int) -> Timing:
        """Return the mean of `count` jobs, and one more."""
        share = 1 / (min(count, REMEMBERED) + 1)
        mine, new = self.to_dict(), other.to_dict()
        return Timing(**{name: mine[name] + share * (new[name] - mine[name]) for name in mine})

    def of(self, request: Request) -> float:
        """Return the seconds that a resolved request will take."""
        steps, pixels = _size(request)
        return self.fixed + self.per_step * steps + self.per_pixel * pixels

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return asdict(self)


def _size(request: Request) -> tuple[float, float]:
    """Return steps times seconds, and pixels times frames."""
    assert request.seconds and request.width and request.height and request.num_frames
    steps = request.num_inference_steps or 1  # a model that is elsewhere does not say how many it takes
    return steps * request.seconds, float(request.width * request.height * request.num_frames)
