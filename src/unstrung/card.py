"""What a model is, can do, costs, allows and defaults to: facts as data, read without loading anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """The smallest and largest that a model can be asked for; sides in pixels."""

    min_side: int = 16
    max_side: int = 4096
    min_seconds: float = 0.0
    max_seconds: float = 60.0
    min_fps: int = 1
    max_fps: int = 60
    max_steps: int = 1000


@dataclass(frozen=True)
class Option:
    """One setting that only this model has: its type by its default, its choices where they are counted, and its meaning."""

    default: Any
    help: str
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """A model as data. Frames come in `frame_stride` x n + `frame_offset`; sides in multiples of `size_multiple`."""

    id: str
    family: str
    summary: str
    tasks: tuple[str, ...]
    license: str
    revision: str = ""
    repo_id: str | None = None
    size_multiple: int = 2
    frame_stride: int = 1
    frame_offset: int = 0
    fps: int = 24
    defaults: Mapping[str, Any] = field(default_factory=dict)  # None where whoever runs the model chooses
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name, what is instead of the defaults
    limits: Limits = Limits()
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes, by kind ("ram", "vram")
    options: Mapping[str, Option] = field(default_factory=dict)
    samplers: tuple[str, ...] = ()
    loras: bool = False  # whether it takes any
    languages: tuple[str, ...] = ()  # that it reads, as "en"; empty where it takes any
    notes: tuple[str, ...] = ()  # what it knows, and what it cannot do, in sentences

    def defaults_of(self, preset: str) -> dict[str, Any]:
        """Return the defaults under a preset."""
        return {**self.defaults, **self.presets.get(preset, {})}

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON types."""
        return asdict(self)
