"""Pictures with alpha: scale, turn and paste them. Alpha is always premultiplied here; colours run from 0 to 1."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def scaled_sprite(picture: Bytes, width: int, height: int) -> Image.Image:
    """Scale (n, n, 4) bytes to an image; its mode says CMYK only because Pillow leaves four such planes alone."""
    image = Image.frombuffer("CMYK", (picture.shape[1], picture.shape[0]), picture.tobytes(), "raw", "CMYK", 0, 1)
    return image.resize((max(1, width), max(1, height)), Image.Resampling.BILINEAR, reducing_gap=2.0)


def turned(image: Image.Image, angle: float, mirror: bool, dx: float, dy: float) -> tuple[Array, int]:
    """Mirror, turn by `angle` degrees clockwise and move by a fraction of a pixel, in one resampling.

    Returns the picture as floats and the margin that was added at each side.
    """
    width, height = image.size
    turn = math.radians(angle)
    margin = 1 if abs(angle) < 0.5 else math.ceil((math.hypot(width, height) - min(width, height)) / 2) + 1
    out_w, out_h = width + 2 * margin, height + 2 * margin
    cos, sin = math.cos(turn), math.sin(turn)
    flip = -1.0 if mirror else 1.0
    # from a point of the result back to a point of the source, both measured from their middles
    a, b, d, e = flip * cos, flip * sin, -sin, cos
    cx, cy = out_w / 2 + dx, out_h / 2 + dy
    matrix = (a, b, width / 2 - a * cx - b * cy, d, e, height / 2 - d * cx - e * cy)
    image = image.transform((out_w, out_h), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) * np.float32(1 / 255), margin


def paste(canvas: Array, picture: Array, left: int, top: int) -> None:
    """Lay a premultiplied picture over a canvas of 3 or 4 channels, in place; what lies outside is cut."""
    h, w = canvas.shape[:2]
    y0, y1 = max(0, top), min(h, top + picture.shape[0])
    x0, x1 = max(0, left), min(w, left + picture.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    under = canvas[y0:y1, x0:x1]
    under *= 1 - part[..., 3:]
    under += part[..., : canvas.shape[2]]
