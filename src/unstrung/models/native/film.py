"""From what the network draws (160x96 at 8 frames a second) to the film that was asked for: more frames, more pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

Frames = npt.NDArray[np.uint8]  # (t, h, w, 3)


def to_film(
    drawn: Frames, drawn_fps: int, fps: int, num_frames: int, size: tuple[int, int], on_frame: Callable[[int], None]
) -> Frames:
    """Return `num_frames` frames of `size` (width, height) at `fps`: blended in time, enlarged and cut to the middle.

    The picture is scaled until it covers the size; what stands over is cut evenly at both sides.
    """
    width, height = size
    film = np.empty((num_frames, height, width, 3), np.uint8)
    for i in range(num_frames):
        at = min(i * drawn_fps / fps, len(drawn) - 1)
        first = int(at)
        share = at - first
        frame = drawn[first]
        if share > 0.01 and first + 1 < len(drawn):
            mixed = frame * np.float32(1 - share) + drawn[first + 1] * np.float32(share)
            frame = (mixed + 0.5).astype(np.uint8)
        film[i] = _cover(frame, width, height)
        on_frame(i + 1)
    return film


def _cover(frame: Frames, width: int, height: int) -> Frames:
    h, w = frame.shape[:2]
    scale = max(width / w, height / h)
    box_w, box_h = width / scale, height / scale
    left, top = (w - box_w) / 2, (h - box_h) / 2
    box = (left, top, left + box_w, top + box_h)
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC, box=box))
