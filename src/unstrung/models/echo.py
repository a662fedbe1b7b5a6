"""A model without weights: a moving pattern from the prompt's hash. For tests, docs and the other end of a wire."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from unstrung.card import Limits, ModelCard, Option
from unstrung.diffusion.samplers import SAMPLERS
from unstrung.errors import InvalidRequest
from unstrung.events import Emit, Note, Preview, Progress
from unstrung.media.clip import Clip, Frames
from unstrung.request import Condition, Request

CARDS = (
    ModelCard(
        id="echo",
        family="echo",
        summary="No model at all: bands of colour that drift, made from the prompt's hash. Answers at once.",
        tasks=(
            "text-to-video", "image-to-video", "first-last-frame", "keyframes", "video-extension", "video-to-video",
            "character-to-video",
        ),
        license="Apache-2.0",
        revision="2",
        size_multiple=16,
        frame_stride=4,
        frame_offset=1,
        fps=24,
        defaults={
            "width": 640, "height": 360, "seconds": 5.0, "num_inference_steps": 4, "guidance_scale": 1.0, "sampler": "euler",
        },
        limits=Limits(min_side=16, max_side=1920, min_seconds=0.0, max_seconds=60.0),
        options={"pattern": Option("bands", "what is drawn", choices=("bands", "rings"))},
        samplers=tuple(SAMPLERS),
        notes=("It understands nothing; equal prompts and seeds give equal pictures.",),
    ),
)  # fmt: skip


class Echo:
    """The pattern maker. Its sides are multiples of 16 and its frames 4n + 1, as those of many real models."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Draw the pattern over what is given; every step of the request is a slice of the frames."""
        assert request.width and request.height and request.num_frames and request.fps and request.num_inference_steps
        emit(Progress("encode", 0, 1))
        key = hashlib.sha256(f"{request.prompt}\0{request.negative_prompt}\0{request.seed}".encode()).digest()
        emit(Note("understood", "echo reads no words; it draws their hash.", {"known": [], "unknown": []}))
        emit(Progress("encode", 1, 1))
        frames = np.empty((request.num_frames, request.height, request.width, 3), np.uint8)
        steps = request.num_inference_steps
        bounds = [request.num_frames * i // steps for i in range(steps + 1)]
        emit(Progress("sample", 0, steps))
        drawn = _drawn(key, request.width, request.height, request.options["pattern"])
        for i, (first, last) in enumerate(pairwise(bounds)):
            for n in range(first, last):
                frame = drawn(n / request.fps)
                for condition in request.conditions:
                    frame = _heed(condition, given[condition.source].frames, frame, n, request.fps)
                frames[n] = frame
            if last > first:
                emit(Preview(frames[first : first + 1], i))
            emit(Progress("sample", i + 1, steps))
        return Clip(frames, request.fps)

    def about(self) -> dict[str, object]:
        """Return what a recipe says of it."""
        return {"revision": self.card.revision, "sha256": None, "device": "cpu"}

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def _drawn(key: bytes, width: int, height: int, pattern: str) -> Callable[[float], Frames]:
    """Return what draws the frame (h w c) of a moment, in seconds.

    The waves keep their shape, and their phase goes on: of sin(a + b) = sin a cos b + cos a sin b all of `a` is computed once.
    """
    angles, speeds, counts = np.frombuffer(key[:9], np.uint8).reshape(3, 3).T.astype(np.float32) / 255
    y, x = np.mgrid[0:height, 0:width, 0:1].astype(np.float32)[:2] / max(width, height)
    along = np.hypot(x - 0.5, y - 0.3) if pattern == "rings" else x * np.cos(6.283 * angles) + y * np.sin(6.283 * angles)
    waves = 6.283 * (2 + 5 * counts) * along
    waves = waves.reshape(height, -1)  # three numbers to a pixel: rows of three alone take four times as long
    sines, cosines = 100 * np.sin(waves), 100 * np.cos(waves)

    def frame(seconds: float) -> Frames:
        phases = np.tile(6.283 * (0.2 + speeds) * np.float32(seconds), width)
        drawn: Frames = (sines * np.cos(phases) + cosines * np.sin(phases) + np.float32(127.5)).astype(np.uint8)
        return drawn.reshape(height, width, 3)

    return frame


def _heed(condition: Condition, given: np.ndarray, frame: np.ndarray, n: int, fps: int) -> np.ndarray:
    """Put what is given into a frame: a picture that fades within a second, a clip for as long as it is, a small character."""
    if condition.kind == "character":
        small = given[n % len(given), ::4, ::4]
        frame = frame.copy()
        frame[-small.shape[0] :, : small.shape[1]] = small
        return frame
    at = n - condition.frame_index
    if condition.kind == "image":
        at, share = 0, condition.strength * max(0.0, 1 - abs(at) / fps)
    else:
        share = condition.strength if 0 <= at < len(given) else 0.0
    if not share:
        return frame
    mixed: np.ndarray = (share * given[at] + (1 - share) * frame).round().astype(np.uint8)
    return mixed


def load(card: ModelCard, device: str | None = None) -> Echo:
    """Return the model; there is nothing to load."""
    if device not in (None, "cpu"):
        raise InvalidRequest("device", f"device is '{device}'; {card.id} runs on: cpu.")
    return Echo(card)
