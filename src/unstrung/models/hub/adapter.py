"""Any of diffusers' video pipelines as a `Model`: words and what is given in, a clip out, and on the way what is to be told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unstrung.card import ModelCard
from unstrung.errors import InvalidRequest
from unstrung.events import Emit, Note, Preview, Progress
from unstrung.media.clip import Clip, Frames
from unstrung.models.hub import preview
from unstrung.models.hub.families import Family, Weights
from unstrung.models.hub.given import RULES
from unstrung.models.hub.lora import Loras
from unstrung.request import Request, tasks_of

PREVIEW_EVERY, PREVIEW_SIDE = 3, 256  # steps, and pixels
SOFTWARE = ("diffusers", "transformers", "torch")


class HubModel:
    """A diffusers pipeline that is loaded, and those of its family that share its parts."""

    def __init__(
        self, card: ModelCard, family: Family, weights: Weights, pipe: Any, device: str, about: Mapping[str, Any]
    ) -> None:
        self.card, self._family, self._weights, self._device = card, family, weights, device
        self._pipes = {type(pipe).__name__: pipe}
        self._own = pipe.scheduler.config, type(pipe.scheduler)
        self._about, self._loras = about, Loras(pipe, card, family)

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Make the clip of a resolved request."""
        assert request.fps and request.num_inference_steps and request.seed is not None
        emit(Progress("encode", 0, 1))
        way = self._family.ways[tasks_of(request)[0]]
        pipe = self._pipe(way.pipeline)
        self._check_length(pipe, request)
        self._loras.use(request.loras, emit)
        arguments = {**self.arguments(pipe, request), **RULES[way.takes](request, given, pipe)}
        with _told(pipe, self._family, request, emit) as told:
            out = pipe(**arguments, **told)
        return Clip(_uint8(out.frames[0]), request.fps)

    def arguments(self, pipe: Any, request: Request) -> dict[str, Any]:
        """Return what a pipeline is called with, beside what is given and what tells of its progress."""
        family, weights = self._family, self._weights
        assert request.seed is not None
        self._choose_sampler(pipe, request.sampler)
        arguments: dict[str, Any] = {
            "prompt": request.prompt, "negative_prompt": request.negative_prompt, "width": request.width,
            "height": request.height, family.frames: request.num_frames, "num_inference_steps": request.num_inference_steps,
            "max_sequence_length": family.text_tokens, "generator": torch.Generator("cpu").manual_seed(request.seed),
            "output_type": "np", **family.arguments, **weights.arguments,
            **{name: request.options[name] for name in weights.options},
        }  # fmt: skip
        if family.fps:
            arguments[family.fps] = request.fps
        if family.guidance:
            arguments[family.guidance] = request.guidance_scale
        else:
            pipe.guider = pipe.guider.new(guidance_scale=request.guidance_scale)
        taken = inspect.signature(pipe.__call__).parameters
        return {name: value for name, value in arguments.items() if name in taken}

    def _pipe(self, name: str) -> Any:
        """Return the pipeline of that name, made of the parts of the one that was loaded."""
        import diffusers

        if name not in self._pipes:
            first = next(iter(self._pipes.values()))
            self._pipes[name] = getattr(diffusers, name).from_pipe(first)
        return self._pipes[name]

    def _choose_sampler(self, pipe: Any, name: str | None) -> None:
        """Put the sampler of that name into a pipeline, with what the weights' own says; unset: their own."""
        import diffusers

        config, own = self._own
        made = own if name is None else getattr(diffusers, self._family.samplers[name])
        extra = {"shift": config["flow_shift"]} if "flow_shift" in config and "flow_shift" not in _fields(made) else {}
        pipe.scheduler = made.from_config(config, **extra)

    def _check_length(self, pipe: Any, request: Request) -> None:
        most = self._family.text_tokens
        for name in ("prompt", "negative_prompt"):
            words = (getattr(request, name) or "").split()
            if len(_tokens(pipe, words)) <= most:
                continue
            fits = max(n for n in range(len(words)) if len(_tokens(pipe, words[:n])) <= most)
            said = f"The {name.replace('_', ' ')} has {len(words)} words; {self.card.id} reads the first {fits}: shorten it."
            raise InvalidRequest(name, said, code="too_long")

    def about(self) -> dict[str, object]:
        """Return what a recipe says of the model."""
        return {
            **self._about,
            "loras": self._loras.about(),
            "device": self._device,
            "software": {name: version(name) for name in SOFTWARE},
        }

    def close(self) -> None:
        """Drop the pipelines."""
        self._pipes.clear()


def _fields(scheduler: type) -> Mapping[str, Any]:
    return inspect.signature(scheduler.__init__).parameters  # type: ignore[misc]


def _tokens(pipe: Any, words: list[str]) -> list[int]:
    found: list[int] = pipe.tokenizer(" ".join(words)).input_ids
    return found


def _uint8(frames: Any) -> Frames:
    """Return a pipeline's frames (t h w c) in 0..1 as bytes, as diffusers itself rounds them."""
    bytes_: Frames = (np.asarray(frames) * 255).round().astype(np.uint8)
    return bytes_


@contextmanager
def _told(pipe: Any, family: Family, request: Request, emit: Emit) -> Iterator[dict[str, Any]]:
    """Have a pipeline tell how far it is, and show what comes; yield the arguments that make it do so."""
    report = _Report(pipe, family, request, emit)
    bar, decode = pipe.progress_bar, pipe.vae.decode
    pipe.progress_bar, pipe.vae.decode = report.bar, report.decoding(decode)
    try:
        takes = "callback_on_step_end" in inspect.signature(pipe.__call__).parameters
        yield {"callback_on_step_end": report.step} if takes else {}
    finally:
        pipe.progress_bar, pipe.vae.decode = bar, decode


class _Report:
    """Hears of a pipeline's steps, and tells: how far it is, and every few of them what the video will look like."""

    def __init__(self, pipe: Any, family: Family, request: Request, emit: Emit) -> None:
        self._family, self._request, self._emit = family, request, emit
        self._colours = preview.Colours(pipe, family)
        self._total, self._done, self._begun = 0, 0, False
        self._before: Tensor | None = None

    def bar(self, iterable: Any = None, total: int | None = None) -> _Bar:
        """Stand in for the pipeline's own progress bar."""
        self._total = self._done + int(total if total is not None else len(iterable))
        if not self._begun:
            self._begun = True
            self._emit(Progress("encode", 1, 1))
        self._emit(Progress("sample", self._done, self._total))
        return _Bar(iterable, self._advance)

    def _advance(self, n: int = 1) -> None:
        self._done += n
        self._emit(Progress("sample", self._done, max(self._total, self._done)))

    def step(self, pipe: Any, i: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """Hear of the end of a step, with its latents."""
        latents = kept.get("latents")
        before, self._before = self._before, latents
        if latents is None or before is None or before.shape != latents.shape or (i + 1) % PREVIEW_EVERY:
            return {}
        known = preview.levels(pipe.scheduler)
        if i + 1 < len(known) - 1 and (clean := preview.foreseen(before, latents, (known[i], known[i + 1]))) is not None:
            asked = self._request
            assert asked.num_frames and asked.height and asked.width
            shown = preview.unpacked(clean, self._family, asked.num_frames, asked.height, asked.width)
            if shown is not None:
                self._emit(Preview(preview.enlarged(self._colours.frames(shown), PREVIEW_SIDE), i + 1))
        return {}

    def decoding(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        """Return a VAE's decoding that says when it begins, and tries again in tiles where memory does not suffice."""

        def told(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._emit(Progress("decode", 0, 1))
            try:
                out = decode(latents, *args, **kwargs)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                vae = decode.__self__  # type: ignore[attr-defined]
                if not _is_out_of_memory(error) or getattr(vae, "use_tiling", True):
                    raise
                self._emit(Note("smaller_plan", "Decoding needs more memory than there is: it is done again, in tiles."))
                torch.cuda.empty_cache()
                vae.enable_tiling()
                out = decode(latents, *args, **kwargs)
            self._emit(Progress("decode", 1, 1))
            return out

        return told


class _Bar:
    """What a pipeline takes for its progress bar."""

    def __init__(self, iterable: Any, advance: Callable[[int], None]) -> None:
        self._iterable, self._advance = iterable, advance

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""

    def __iter__(self) -> Iterator[Any]:
        for one in self._iterable:
            yield one
            self._advance(1)

    def update(self, n: int = 1) -> None:
        """Hear of steps that were made."""
        self._advance(n)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error) or "allocate memory" in str(error)


def load_model(
    card: ModelCard, family: Family, weights: Weights, folder: Path, device: str | None, about: Mapping[str, Any]
) -> HubModel:
    """Load a pipeline from its folder: in bfloat16, but for what loses too much in it."""
    import diffusers

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kinds = {"default": torch.bfloat16, **{name: torch.float32 for name in family.float32}}
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=kinds, use_safetensors=True, local_files_only=True)
    return HubModel(card, family, weights, pipe.to(where), where, about)
