"""What a training run is made of. A recipe is a function that returns one of these (`train/configs/`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unstrung.models.native.config import NativeConfig


@dataclass(frozen=True)
class Bucket:
    """Samples of one shape, which go into a batch together."""

    frames: int  # latent frames, four pixel frames each
    height: int
    width: int
    batch: int


@dataclass(frozen=True)
class Phase:
    """Until so many samples have been seen, draw buckets with these weights."""

    until: int
    weights: tuple[tuple[Bucket, float], ...]


@dataclass(frozen=True)
class Levels:
    """Noise levels from a logit-normal distribution: a mean above 0 leans to noise."""

    mean: float
    spread: float


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: the model, what it sees in which order, and how it learns."""

    name: str
    model: NativeConfig
    phases: tuple[Phase, ...]
    fps: int = 8
    seed: int = 0
    text_tokens: int = 48  # captions are padded to this length: the longest has 43
    drop_text: float = 0.1
    finished_share: float = 1 / 2  # of a batch goes through the whole network; the rest is sketched
    finished_noise: Levels = Levels(1.4, 1.2)
    sketched_noise: Levels = Levels(2.2, 1.0)
    subject_weight: float = 5.0  # how much more pixels near an actor count than the backdrop's, where there is little noise
    muon_lr: float = 1e-3
    adam_lr: float = 5e-4
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.999
    workers: int = 1
    compile: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON types."""
        return asdict(self)
