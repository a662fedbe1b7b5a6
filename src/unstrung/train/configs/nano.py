"""How the built-in model was trained."""

from __future__ import annotations

from unstrung.models.native.config import SIZES
from unstrung.train.config import Bucket, Phase, TrainConfig

WIDE = Bucket(1, 96, 160, batch=48)
TALL = Bucket(1, 160, 96, batch=48)
SQUARE = Bucket(1, 128, 128, batch=45)
CLIP = Bucket(4, 96, 160, batch=12)
LONG = Bucket(10, 96, 160, batch=5)
TALL_CLIP = Bucket(4, 160, 96, batch=12)
SQUARE_CLIP = Bucket(4, 128, 128, batch=11)


def nano() -> TrainConfig:
    """Return the recipe of nano: half-second windows first, then more and more of longer ones."""
    return TrainConfig(
        name="nano",
        model=SIZES["nano"],
        phases=(
            Phase(until=70_000, weights=((WIDE, 0.9), (TALL, 0.05), (SQUARE, 0.05))),
            Phase(until=350_000, weights=((WIDE, 0.55), (TALL, 0.05), (SQUARE, 0.05), (CLIP, 0.35))),
            Phase(until=450_000, weights=((WIDE, 0.7), (TALL, 0.05), (SQUARE, 0.05), (CLIP, 0.2))),  # shapes first
            Phase(until=900_000, weights=((WIDE, 0.55), (TALL, 0.05), (SQUARE, 0.05), (CLIP, 0.35))),
            Phase(
                until=10**12,
                weights=(
                    (WIDE, 0.35), (TALL, 0.05), (SQUARE, 0.05), (CLIP, 0.35), (LONG, 0.1), (TALL_CLIP, 0.05), (SQUARE_CLIP, 0.05),
                ),
            ),
        ),
    )  # fmt: skip
