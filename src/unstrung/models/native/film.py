"""From what the network draws (160x96 at 8 frames a second) to the film that was asked for: more frames, more pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from unstrung.models.native.graph import Graph

Frames = npt.NDArray[np.uint8]  # (t, h, w, 3)
Floats = npt.NDArray[np.float32]


class Detail(Protocol):
    """Draws large pictures between small ones."""

    def between(self, a: Frames, b: Frames, share: float) -> Frames:
        """Return the picture at `share` of the way from a to b (h w 3), at several times their size."""
        ...


class OpenVINODetail:
    """The film network of `detail.py`, run by OpenVINO; compiled once for each size."""

    def __init__(self, path: Path) -> None:
        import openvino as ov
        from safetensors.numpy import load_file

        self._core = ov.Core()
        self._weights = load_file(path)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def between(self, a: Frames, b: Frames, share: float) -> Frames:
        """Return the picture at `share` of the way from a to b (h w 3), four times as high and wide."""
        if a.shape not in self._compiled:
            model = _build(self._weights, a.shape[0], a.shape[1])
            self._compiled[a.shape] = self._core.compile_model(model, "CPU", {})
        time = np.full((1, 1, *a.shape[:2]), share, np.float32)
        result = self._compiled[a.shape]([_planes(a), _planes(b), time])[0]
        picture: Frames = np.clip((result[0].transpose(1, 2, 0) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
        return picture


def _planes(frame: Frames) -> Floats:
    return frame.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1


def _build(weights: dict[str, npt.NDArray[np.floating]], h: int, w: int) -> Any:
    """Build `DetailNet.forward` for pictures of one size in OpenVINO's operations."""
    import openvino as ov

    g = Graph(weights)
    ops = g.ops
    a, b = (ops.parameter([1, 3, h, w], np.float32, name=name) for name in "ab")
    time = ops.parameter([1, 1, h, w], np.float32, name="time")
    full = g.silu(g.conv("enter", ops.concat([a, b, time], 1)))
    half = g.silu(g.conv("down_half", g.space_to_depth(full, 2)))
    quarter = g.silu(g.conv("down_quarter", g.space_to_depth(half, 2)))
    quarter = ops.add(quarter, g.conv("middle_out", g.silu(g.conv("middle_in", quarter))))
    up = g.depth_to_space(g.conv("up_half", quarter), 2)
    half = g.silu(g.conv("join_half", ops.concat([up, half], 1)))
    up = g.depth_to_space(g.conv("up_full", half), 2)
    full = g.silu(g.conv("join_full", ops.concat([up, full], 1)))
    mix = ops.add(a, ops.multiply(ops.subtract(b, a), time))
    added = g.conv("leave", full)
    times = added.get_output_partial_shape(0).to_shape()[1] // 3
    mix = g.reshape(ops.concat([g.reshape(mix, 1, 3, 1, h, w)] * times, 2), 1, 3 * times, h, w)
    large = g.depth_to_space(ops.add(added, mix), round(times**0.5))
    return ov.Model([large], [a, b, time], "detail")


def to_film(
    drawn: Frames,
    drawn_fps: int,
    fps: int,
    num_frames: int,
    size: tuple[int, int],
    on_frame: Callable[[int], None],
    detail: Detail | None = None,
) -> Frames:
    """Return `num_frames` frames of `size` (width, height) at `fps`.

    Between drawn frames and where the size is larger than they are, `detail` fills in; without it frames are mixed and
    enlarged plainly. The picture then covers the size; what stands over is cut evenly at both sides.
    """
    width, height = size
    film = np.empty((num_frames, height, width, 3), np.uint8)
    as_drawn = fps == drawn_fps and width <= drawn.shape[2] and height <= drawn.shape[1]
    # the last drawn frame is the last of the film: held, it would look like a stop
    pace = min(drawn_fps / fps, (len(drawn) - 1) / max(1, num_frames - 1))
    for i in range(num_frames):
        at = i * pace
        first = int(at)
        a, b = drawn[first], drawn[min(first + 1, len(drawn) - 1)]
        frame = _mixed(a, b, at - first) if detail is None or as_drawn else detail.between(a, b, at - first)
        film[i] = _cover(frame, width, height)
        on_frame(i + 1)
    return film


def _mixed(a: Frames, b: Frames, share: float) -> Frames:
    if share < 0.01:
        return a
    mixed: Frames = (a * np.float32(1 - share) + b * np.float32(share) + 0.5).astype(np.uint8)
    return mixed


def _cover(frame: Frames, width: int, height: int) -> Frames:
    h, w = frame.shape[:2]
    scale = max(width / w, height / h)
    box_w, box_h = width / scale, height / scale
    left, top = (w - box_w) / 2, (h - box_h) / 2
    if scale == 1:  # nothing to resample: cut
        return frame[round(top) : round(top) + height, round(left) : round(left) + width]
    box = (left, top, left + box_w, top + box_h)
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS, box=box))
