"""What a piece of work says while it runs: to a progress bar, a page, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """`done` of `total` parts of a stage are behind us; stages follow one another in the engine's order."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Preview:
    """An early look at the result: uint8 frames (t, h, w, 3), however rough."""

    frames: Any
    step: int


@dataclass(frozen=True)
class Note:
    """Something that the person should know: `code` and `data` for programs, `text` for people."""

    code: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


Event = Progress | Preview | Note
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing with it."""
