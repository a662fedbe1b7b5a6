"""Where a token is: rotary angles on three axes, and the place in the picture as features. Plain numpy, for both runtimes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
PLACE_FEATURES = 32


def rotary(t: int, h: int, w: int, width: int) -> tuple[Array, Array]:
    """Return cos and sin of the rotary angles, (t*h*w, width/2) each: 2/8 of the width for time, 3/8 each for y and x.

    After RoPE (Su et al. 2021, arXiv:2104.09864) on the axes of a video, as in most video transformers since.
    """
    sizes = (width // 8, width * 3 // 16, width * 3 // 16)
    axes = np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")
    angles = []
    for axis, size in zip(axes, sizes, strict=True):
        frequencies = 100.0 ** (-np.arange(size) / size)
        angles.append(axis.reshape(-1, 1) * frequencies)
    all_angles = np.concatenate(angles, axis=1)
    return np.cos(all_angles).astype(np.float32), np.sin(all_angles).astype(np.float32)


def places(h: int, w: int) -> Array:
    """Return Fourier features of each patch's place in the picture, (h*w, 32); y and x run from -1 to 1 at any size."""
    features = []
    for n, axis in ((h, 0), (w, 1)):
        line = (np.arange(n) + 0.5) / n * 2 - 1
        grid = np.broadcast_to(line[:, None] if axis == 0 else line[None, :], (h, w)).reshape(-1, 1)
        angles = grid * (np.pi / 2 * 2.0 ** np.arange(PLACE_FEATURES // 4) / 2)
        features += [np.sin(angles), np.cos(angles)]
    return np.concatenate(features, axis=1).astype(np.float32)
