"""Metrics: each says one number about one clip, and what somebody blind would score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from unstrung.eval.prompts import EvalPrompt
from unstrung.eval.reader import Reading, Video


@dataclass(frozen=True)
class Seen:
    """A clip to be measured: its prompt, its frames uint8 (16 96 160 3) at 8 fps, and what the reader saw in it."""

    prompt: EvalPrompt
    frames: Video
    reading: Reading


class Metric(Protocol):
    """The shape of every metric. What real renders of the same prompts score is measured in the same way, beside it."""

    higher_is_better: ClassVar[bool]
    unit: ClassVar[str]

    @property
    def name(self) -> str:
        """Return what the metric is called in reports."""

    def compute(self, clip: Seen) -> float:
        """Return the metric of one clip; of many clips it is the mean."""

    def chance(self, prompts: Sequence[EvalPrompt]) -> float:
        """Return what would be scored without a look at the prompts."""


@dataclass(frozen=True)
class Accuracy:
    """Whether an attribute is read as the prompt says, among the reader's `top` likeliest ids."""

    attribute: str
    top: int = 1
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "share"

    @property
    def name(self) -> str:
        """Return the attribute, and how many guesses it has where that is more than one."""
        return self.attribute if self.top == 1 else f"{self.attribute}_top{self.top}"

    def compute(self, clip: Seen) -> float:
        """Return 1 where the clip shows what was asked for, else 0."""
        return float(clip.prompt.wanted(self.attribute) in clip.reading.ranked[self.attribute][: self.top])

    def chance(self, prompts: Sequence[EvalPrompt]) -> float:
        """Return the best score of an answer that is always the same."""
        common = Counter(p.wanted(self.attribute) for p in prompts).most_common(self.top)
        return sum(count for _, count in common) / len(prompts)


@dataclass(frozen=True)
class Flicker:
    """How much the picture trembles: the mean absolute second difference in time, in levels of 255.

    Even motion has little of it, so compare with real renders of the same prompts: they move too.
    """

    higher_is_better: ClassVar[bool] = False
    unit: ClassVar[str] = "levels"

    @property
    def name(self) -> str:
        """Return "flicker"."""
        return "flicker"

    def compute(self, clip: Seen) -> float:
        """Return the mean of |x[t-1] - 2 x[t] + x[t+1]| over time, pixels and colours."""
        return float(np.abs(np.diff(clip.frames.astype(np.int16), n=2, axis=0)).mean())

    def chance(self, prompts: Sequence[EvalPrompt]) -> float:
        """Return the flicker of frames of uniform noise: E|x - 2y + z| = 7/12 of the range."""
        return 255 * 7 / 12


def default_metrics() -> tuple[Metric, ...]:
    """Return the metrics of a report, in its order."""
    attributes = ("subject", "place", "time", "direction")
    return (Accuracy("subject"), Accuracy("subject", top=5), *(Accuracy(a) for a in attributes[1:]), Flicker())
