"""The sizes of the native family. One architecture; a size is nothing but these numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FRAMES = 4  # pixel frames in a latent frame
PATCH = 16  # side of a token's square, in pixels: the stem halves four times
WINDOW = 4  # latent frames that are drawn together, unless the weights say otherwise, of which
CONTEXT = 2  # so many are the end of what is there already
CHANNELS = 3 * FRAMES  # of a latent, which is nothing but pixels: the colours of its frames


@dataclass(frozen=True)
class NativeConfig:
    """The shape of a native video transformer."""

    width: int
    depth: int
    heads: int
    hidden: int  # of the SwiGLU
    eighth: int  # channels of the convolutions at an eighth of the size
    quarter: int  # channels of the convolutions at a quarter of the size
    half: int  # channels of the convolutions at half the size
    text_width: int = 384
    refined: int = 2  # how often features are refined at an eighth of the size

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON types."""
        return asdict(self)


SIZES: dict[str, NativeConfig] = {
    "tiny": NativeConfig(width=64, depth=2, heads=2, hidden=128, eighth=16, quarter=16, half=16),  # for tests
    "nano": NativeConfig(width=320, depth=8, heads=5, hidden=864, eighth=256, quarter=96, half=64, refined=3),
    "small": NativeConfig(width=768, depth=14, heads=12, hidden=2048, eighth=384, quarter=128, half=96, refined=3),
    "base": NativeConfig(width=1152, depth=28, heads=18, hidden=3072, eighth=512, quarter=192, half=128, refined=3),
}
