"""What every model is, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from unstrung.card import ModelCard
from unstrung.events import Emit
from unstrung.media.clip import Clip
from unstrung.request import Request


class Model(Protocol):
    """A loaded model. It is given requests in which all is set that its card has a default for, in sizes that its card allows."""

    card: ModelCard

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Make the clip of a resolved request; `emit` hears of every step and raises `Canceled` to stop it.

        `given` holds what the request's conditions name, by source: at the request's size and frame rate, a picture as one frame.
        """
        ...

    def about(self) -> dict[str, object]:
        """Return what a recipe says of the model: its `revision`, the `sha256` of its weights, its `device`.

        A model that is elsewhere may also say on which `host`, and under which `license` it is there.
        """
        ...

    def close(self) -> None:
        """Give back what the model holds."""
        ...
