"""The native family as a `Model`: encode, prepare, sample, decode."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unstrung.card import ModelCard
from unstrung.diffusion.guidance import cfg
from unstrung.diffusion.samplers import SAMPLERS, OnStep, Velocity
from unstrung.diffusion.sigmas import SCHEDULES
from unstrung.errors import InvalidRequest, MissingWeights
from unstrung.events import Emit, Note, Preview, Progress
from unstrung.media.clip import Clip
from unstrung.models.native import codec
from unstrung.models.native.config import CHANNELS, CONTEXT, FRAMES, WINDOW
from unstrung.models.native.film import Detail, OpenVINODetail, to_film
from unstrung.models.native.runtime import Array, Runtime
from unstrung.models.native.text import MiniLM, TextEncoder
from unstrung.models.native.understand import Vocabulary
from unstrung.request import Request

DRAWN_FPS = 8
CANVASES = ((160, 96), (96, 160), (128, 128))  # width, height: the sizes that it was trained at
DEVICES = (None, "cpu", "cuda", "cpu:torch")
MAX_TOKENS = 64  # of a prompt, with the encoder's two marks
PREVIEW_EVERY = 2  # steps

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Latent frames `start` to `stop` of a clip are drawn together; the first `given` of them are there already."""

    start: int
    stop: int
    given: int


def windows(num_frames: int, size: int, context: int) -> list[Window]:
    """Cover latent frames with windows of at most `size`, each of which sees the last `context` frames before it."""
    out = [Window(0, min(size, num_frames), 0)]
    while out[-1].stop < num_frames:
        start = out[-1].stop - context
        out.append(Window(start, min(start + size, num_frames), context))
    return out


def canvas_for(width: int, height: int) -> tuple[int, int]:
    """Return the trained canvas whose shape is nearest to the size asked for."""
    return min(CANVASES, key=lambda c: abs(np.log(c[0] / c[1] * height / width)))


class _Report:
    """Tells of every step of a window, and shows every few what the network takes the picture to be."""

    def __init__(self, runtime: Runtime, emit: Emit, before: int, total: int) -> None:
        self._runtime, self._emit, self._before, self._total = runtime, emit, before, total
        self.guess: Array | None = None  # of the clean picture: halfway, the sample itself is mostly noise

    def __call__(self, i: int, x: Array, sigma: float) -> None:
        done = self._before + i + 1
        self._emit(Progress("sample", done, self._total))
        if (i + 1) % PREVIEW_EVERY == 0 and sigma > 0 and self.guess is not None:
            self._emit(Preview(codec.decode(np.clip(self._runtime.numpy(self.guess), -1, 1)), done))


class NativePipeline:
    """A native model with its text encoder and its runtime."""

    def __init__(
        self,
        card: ModelCard,
        runtime: Runtime,
        encoder: TextEncoder,
        vocabulary: Vocabulary,
        detail: Detail | None,
        about: Mapping[str, Any],
        sha256: str,
    ) -> None:
        self.card, self._detail = card, detail
        self._runtime, self._encoder, self._vocabulary = runtime, encoder, vocabulary
        self._about, self._sha256 = about, sha256

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Make the clip of a resolved request; its card allows no conditions yet."""
        assert not given
        assert request.width and request.height and request.num_frames and request.fps and request.num_inference_steps
        emit(Progress("encode", 0, 1))
        self._check_length("prompt", request.prompt)
        self._check_length("negative_prompt", request.negative_prompt or "")
        read = self._vocabulary.read_prompt(request.prompt, self._encoder)
        emit(Note("understood", read.sentence(self.card.id), read.to_dict()))
        self._say_what_is_cut(request.width, request.height, emit)
        text, mask = self._encode(request)
        emit(Progress("encode", 1, 1))
        latent_frames = -(-request.num_frames * DRAWN_FPS // (request.fps * FRAMES))
        latent = self._sample(request, max(1, latent_frames), text, mask, emit)
        emit(Progress("decode", 0, request.num_frames))
        drawn = codec.decode(latent)
        frames = to_film(
            drawn, DRAWN_FPS, request.fps, request.num_frames, (request.width, request.height),
            lambda done: emit(Progress("decode", done, request.num_frames or 1)), self._detail,
        )  # fmt: skip
        return Clip(frames, request.fps)

    def _check_length(self, field: str, text: str) -> None:
        if len(self._encoder.tokens(text)) + 2 <= MAX_TOKENS:
            return
        words = text.split()
        name = field.replace("_", " ")
        fits = next(n for n in range(len(words), -1, -1) if len(self._encoder.tokens(" ".join(words[:n]))) + 2 <= MAX_TOKENS)
        read = f"reads the first {fits}" if fits else f"can't read even the first, of {len(words[0])} letters"
        count = "1 word" if len(words) == 1 else f"{len(words)} words"
        raise InvalidRequest(field, f"The {name} has {count}; {self.card.id} {read}: shorten it.", code="too_long")

    def _say_what_is_cut(self, width: int, height: int, emit: Emit) -> None:
        """Warn where the size asked for is so far from the drawn one that much of the picture is lost."""
        canvas = canvas_for(width, height)
        kept = sorted((width * canvas[1], height * canvas[0]))
        lost = 1 - kept[0] / kept[1]
        if lost > 0.2:
            text = f"{self.card.id} draws {canvas[0]}x{canvas[1]}: to fill {width}x{height}, {lost:.0%} of it is cut away."
            emit(Note("cut", text, {"share": lost}))

    def _encode(self, request: Request) -> tuple[Floats, Floats]:
        """Return token states (b l 384) and mask (b l): the prompt, and, where there is guidance, what to lead away from."""
        texts = [request.prompt]
        if request.guidance_scale != 1:
            texts.append(request.negative_prompt or "")
        states = self._encoder.encode_batch(texts)
        length = -(-max(map(len, states)) // 16) * 16
        text = np.zeros((len(texts), length, self._encoder.width), np.float32)
        mask = np.zeros((len(texts), length), np.float32)
        for i, s in enumerate(states):
            text[i, : len(s)], mask[i, : len(s)] = s, 1
        return text, mask

    def _sample(self, request: Request, latent_frames: int, text: Floats, mask: Floats, emit: Emit) -> Floats:
        """Draw the latent (12 n h w), window after window, each seeing the end of the one before."""
        assert request.num_inference_steps and request.guidance_scale is not None and request.sampler
        emit(Progress("prepare", 0, 1))
        width, height = canvas_for(request.width or 0, request.height or 0)
        rng = np.random.default_rng(request.seed)
        noise = rng.standard_normal((CHANNELS, latent_frames, height, width)).astype(np.float32)
        latent = np.zeros_like(noise)
        plan = windows(latent_frames, int(self._about.get("window", WINDOW)), int(self._about.get("context", CONTEXT)))
        steps = request.num_inference_steps
        sigmas = SCHEDULES[str(request.options["schedule"])](steps)
        emit(Progress("prepare", 1, 1))
        emit(Progress("sample", 0, steps * len(plan)))
        for number, window in enumerate(plan):
            cut = slice(window.start + window.given, window.stop)
            report = _Report(self._runtime, emit, before=number * steps, total=steps * len(plan))
            velocity = self._velocity(latent[:, window.start : cut.start], text, mask, request.guidance_scale, report)
            latent[:, cut] = np.clip(self._walk(request.sampler, velocity, noise[:, cut], sigmas, rng, report), -1, 1)
        return latent

    def _walk(
        self, sampler: str, velocity: Velocity, noise: Floats, sigmas: list[float], rng: np.random.Generator, report: OnStep
    ) -> Floats:
        """Lead noise to a picture with the sampler of that name."""

        def fresh() -> Array:
            return self._runtime.array(rng.standard_normal(noise.shape).astype(np.float32))

        x = SAMPLERS[sampler](velocity, self._runtime.array(noise), sigmas, noise=fresh, on_step=report)
        return self._runtime.numpy(x)

    def _velocity(self, given: Floats, text: Floats, mask: Floats, scale: float, report: _Report) -> Velocity:
        """Return velocity(x, sigma) of the frames to be drawn, with the given ones, prompt and guidance inside."""
        count, b = given.shape[1], len(text)
        before = self._runtime.array(given)

        def velocity(x: Array, sigma: float) -> Array:
            whole = _join(before, x)
            levels = np.full((b, whole.shape[1]), sigma, np.float32)
            levels[:, :count] = 0
            guess = self._runtime.predict(_repeat(whole, b), levels, text, mask)[:, :, count:]
            report.guess = clean = cfg(guess[0], guess[1], scale) if b == 2 else guess[0]
            return (x - clean) / sigma

        return velocity

    def about(self) -> dict[str, object]:
        """Return what a recipe says of the model."""
        return {
            "revision": self.card.revision, "sha256": self._sha256, "device": self._runtime.device,
            "trained_samples": self._about.get("samples"), "credits": f"{self.card.id}.credits.json",
            "software": {name: version(name) for name in ("numpy", "openvino", "tokenizers")},
        }  # fmt: skip

    def close(self) -> None:
        """Drop the network and the encoder."""
        del self._runtime, self._encoder


def _join(before: Array, x: Array) -> Array:
    """Lay latent frames one after the other, whatever arrays they are."""
    if isinstance(x, np.ndarray):
        return np.concatenate([before, x], axis=1)
    import torch

    return torch.cat([before, x], dim=1)


def _repeat(x: Array, times: int) -> Array:
    """Return the same latent `times` times, as a batch."""
    return x[None].repeat(times, 0) if isinstance(x, np.ndarray) else x[None].expand(times, *x.shape)


def load_pipeline(card: ModelCard, folder: Path, device: str | None = None) -> NativePipeline:
    """Load a native model from its folder: with OpenVINO on the CPU, or with PyTorch on "cuda" or "cpu:torch"."""
    from unstrung.models.native.runtime import OpenVINORuntime, TorchRuntime, Weights

    weights = Weights.read(folder / f"{card.id}.safetensors")
    if device not in DEVICES:
        raise InvalidRequest("device", f"device is '{device}'; {card.id} runs on: {', '.join(d for d in DEVICES if d)}.")
    if device not in (None, "cpu") and importlib.util.find_spec("torch") is None:
        raise MissingWeights(f"device is '{device}', which needs PyTorch: pip install '.[train]'")
    if device in (None, "cpu"):
        runtime: Runtime = OpenVINORuntime(weights)
    else:
        runtime = TorchRuntime(weights, (device or "").removesuffix(":torch"))
    vocabulary = Vocabulary.read(folder / f"{card.id}.vocabulary.npz")
    detail_path, detail, digest = folder / "detail.safetensors", None, weights.sha256
    if detail_path.exists():
        detail = OpenVINODetail(detail_path)
        digest = hashlib.sha256(f"{digest} {hashlib.sha256(detail_path.read_bytes()).hexdigest()}".encode()).hexdigest()
    return NativePipeline(card, runtime, MiniLM(), vocabulary, detail, weights.about, digest)
