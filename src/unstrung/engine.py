"""From a request to a clip and its recipe: the one place where the steps of generating are listed."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from unstrung import __version__
from unstrung.card import ModelCard
from unstrung.errors import InvalidRequest, MissingWeights, NotEnoughMemory
from unstrung.events import Emit, Event, Note, Progress, ignore
from unstrung.media.clip import Clip
from unstrung.media.codec import PICTURES, read_clip, read_picture
from unstrung.models.base import Model
from unstrung.plugins import cards, check_installed, find_card
from unstrung.recipe import Recipe
from unstrung.request import DEFAULT_MODEL, Request, Resolved, check_tasks, resolve

STAGES = ("resolve", "load", "encode", "prepare", "sample", "decode", "finish")


@dataclass
class _Clock:
    """Hears every event on its way to the caller, and keeps what the recipe wants to know."""

    emit: Emit
    seconds: dict[str, float] = field(default_factory=dict)
    understood: Mapping[str, Any] = field(default_factory=dict)
    stage: str | None = None
    since: float = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and event.stage != self.stage:
            self.enter(event.stage)
        if isinstance(event, Note) and event.code == "understood":
            self.understood = event.data
        self.emit(event)

    def enter(self, stage: str | None) -> None:
        now = time.perf_counter()
        if self.stage is not None:
            self.seconds[self.stage] = round(self.seconds.get(self.stage, 0.0) + now - self.since, 3)
        self.stage, self.since = stage, now


def open_model(name: str | None = None, device: str | None = None) -> Model:
    """Load a model by name (default: the built-in one). Raises `UnknownModel` or `MissingWeights`."""
    card, module = find_card(name or DEFAULT_MODEL)
    model: Model = module.load(card, device)
    return model


def check(request: Request, card: ModelCard | None = None) -> Resolved:
    """Resolve a request without loading anything; raise `UnstrungError` kin for what can't be made on this machine.

    Whoever checks often gives the model's card: to look for it reads every installed package's entry points.
    """
    card = card or find_card(request.model or DEFAULT_MODEL)[0]
    check_able(request, card)
    return _resolve(request, card)


def check_able(request: Request, card: ModelCard) -> None:
    """Raise `InvalidRequest`, which names the models that can, for what this one can't do, whatever the size."""
    try:
        check_tasks(request, card)
    except InvalidRequest as error:
        if error.code != "not_supported":
            raise
        able = [card.id for card, module in cards().values() if _can(request, card) and is_installed(card, module)]
        words = f"{error.message} {'These do: ' + ', '.join(sorted(able)) if able else 'No model here does'}."
        raise InvalidRequest("model", words, code="not_supported") from None


def _resolve(request: Request, card: ModelCard) -> Resolved:
    """Make every choice, and see that the model and the frames fit into this machine's memory."""
    resolved = resolve(request, card)
    run, memory = resolved.run, memory_bytes()
    assert run.width and run.height and run.num_frames and run.seconds
    needed = card.memory.get("ram", 0) + run.num_frames * run.height * run.width * 3
    if memory is not None and needed > memory:
        raise NotEnoughMemory(
            f"{run.seconds:g} s at {run.width}x{run.height} need {needed / 2**30:.1f} GiB of memory, this machine has "
            f"{memory / 2**30:.1f}: ask for fewer seconds, fewer frames a second or a smaller size."
        )
    return resolved


def is_installed(card: ModelCard, module: ModuleType) -> bool:
    """Say whether a model has all that it needs, as far as can be seen without loading it."""
    try:
        check_installed(card, module)
    except MissingWeights:
        return False
    return True


def _can(request: Request, card: ModelCard) -> bool:
    try:
        check_tasks(request, card)
    except InvalidRequest:
        return False
    return True


def open_file(source: str) -> Clip:
    """Return the clip or the picture in a file, which is what a condition names unless somebody knows better."""
    path = Path(source)
    return read_picture(path) if path.suffix.lower() in PICTURES else read_clip(path)


def generate(
    request: Request, emit: Emit = ignore, *, model: Model | None = None, device: str | None = None,
    open_source: Callable[[str], Clip] = open_file,
) -> tuple[Clip, Recipe]:  # fmt: skip
    """Make a clip, and the recipe to make it again.

    `emit` hears of progress, previews and notes, and may raise `Canceled`. A `model` that is open already is used and
    left open; else the request's is loaded and closed. `open_source` returns what a condition names. Raises `UnstrungError` kin.
    """
    clock = _Clock(emit)
    clock.enter("resolve")
    resolved = _resolve(request, model.card) if model else check(request)
    sources = {condition.source: open_source(condition.source) for condition in resolved.run.conditions}
    clock(Progress("load", 0, 1))
    opened = model or open_model(resolved.target.model, device)
    clock(Progress("load", 1, 1))
    try:
        given = {source: _fitted(clip, resolved.run) for source, clip in sources.items()}
        clip = opened.generate(resolved.run, clock, given)  # encode, prepare, sample, decode
        clock(Progress("finish", 0, 1))
        clip = _crop(clip, resolved.target)
        about = opened.about()
    finally:
        if model is None:
            opened.close()
    clock(Progress("finish", 1, 1))
    clock.enter(None)
    parents = tuple(source.sha256() for source in sources.values())
    return clip, replace(_recipe(request, resolved, opened.card, about, clip, clock), parents=parents)


def remake(recipe: Recipe, emit: Emit = ignore, *, device: str | None = None) -> tuple[Clip, Recipe, bool]:
    """Run a recipe again; return the clip, its new recipe, and whether every frame is the same."""
    out = recipe.output
    asked = {**recipe.resolved, "seed": recipe.seed, "width": out["width"], "height": out["height"]}
    asked |= {"num_frames": out["num_frames"], "fps": out["fps"]}
    asked.pop("seconds", None)
    clip, again = generate(Request.from_dict(asked), emit, device=device)
    return clip, again, again.output["sha256"] == out["sha256"]


def _fitted(clip: Clip, run: Request) -> Clip:
    """Bring what is given to the size and the frame rate of what is made."""
    assert run.width and run.height and run.fps
    timed = replace(clip, fps=run.fps) if clip.num_frames == 1 else clip.at_rate(run.fps)  # a picture lasts no time
    return timed.cover(run.width, run.height)


def _crop(clip: Clip, target: Request) -> Clip:
    """Cut what the model's rules added: frames at the end, pixels evenly at all sides."""
    assert target.width and target.height and target.num_frames
    top, left = (clip.height - target.height) // 2, (clip.width - target.width) // 2
    kept = clip.trim(0, target.num_frames)
    frames = kept.frames[:, top : top + target.height, left : left + target.width]
    assert frames.shape[:3] == (target.num_frames, target.height, target.width), frames.shape
    return replace(kept, frames=frames)


def _recipe(request: Request, resolved: Resolved, card: ModelCard, about: Mapping[str, Any], clip: Clip, clock: _Clock) -> Recipe:
    assert resolved.target.seed is not None
    return Recipe(
        request=request.to_dict(),
        resolved=resolved.run.to_dict(),
        model={
            "id": card.id, "revision": about.get("revision"), "sha256": about.get("sha256"),
            "license": about.get("license", card.license), "credits": about.get("credits"),
            **{name: about[name] for name in ("files", "loras", "cache", "upsampler", "shift") if about.get(name)},
        },
        seed=resolved.target.seed,
        output={
            "sha256": clip.sha256(), "width": clip.width, "height": clip.height, "num_frames": clip.num_frames, "fps": clip.fps,
        },
        software={"unstrung": __version__, "python": platform.python_version(), **about.get("software", {})},
        device={
            "name": about.get("device"), "system": platform.system(), "machine": platform.machine(),
            **{name: about[name] for name in ("host", "plan", "tiled", "dtype") if name in about},
        },
        seconds=clock.seconds,
        peak_memory_bytes=_peak_memory(),
        understood=clock.understood,
    )  # fmt: skip


def memory_bytes() -> int | None:
    """Return the machine's memory in bytes; None where the system does not say."""
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _peak_memory() -> int | None:
    """Return the most memory that this process has held, in bytes; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
