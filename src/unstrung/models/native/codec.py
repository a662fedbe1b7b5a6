"""Frames to latents and back. There is no autoencoder: a latent frame is four pixel frames, folded into its channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unstrung.models.native.config import CHANNELS, FRAMES


def encode(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Fold frames uint8 (t h w 3) into a latent (12, t/4, h, w) in -1..1; t must be a multiple of 4."""
    t, h, w, c = frames.shape
    folded = frames.reshape(t // FRAMES, FRAMES, h, w, c).transpose(1, 4, 0, 2, 3).reshape(CHANNELS, t // FRAMES, h, w)
    return folded.astype(np.float32) / 127.5 - 1


def decode(latent: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Unfold a latent (12, n, h, w) into frames uint8 (4n, h, w, 3)."""
    c, n, h, w = latent.shape
    frames = latent.reshape(FRAMES, c // FRAMES, n, h, w).transpose(2, 0, 3, 4, 1).reshape(FRAMES * n, h, w, c // FRAMES)
    whole: npt.NDArray[np.uint8] = np.clip(np.rint((frames + 1) * 127.5), 0, 255).astype(np.uint8)
    return whole
