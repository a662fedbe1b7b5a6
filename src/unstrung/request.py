"""What a person asks for. Unset is None and means "you choose"; `resolve` chooses, once."""

from __future__ import annotations

import difflib
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from unstrung.card import ModelCard, Option
from unstrung.errors import InvalidRequest

DEFAULT_MODEL = "nano"


LONG_SIDES = {360: 640, 480: 854, 720: 1280, 1080: 1920}  # of 16:9, by the short side
SHAPES = ("16:9", "9:16", "1:1")
CONDITIONS = ("image", "video", "control", "character")
STANDARD = "standard"  # the preset that changes nothing


@dataclass(frozen=True)
class Condition:
    """A picture or a clip pinned at a frame; a negative `frame_index` counts from the end.

    A `strength` of 1 keeps a clip as it is, and what is made goes on from it; less lets it be changed.
    """

    source: str  # a file, a clip's id, or another name that whoever runs the request can open
    frame_index: int = 0
    strength: float = 1.0
    kind: str = "image"


@dataclass(frozen=True)
class Shot:
    """One shot of a storyboard: its own words and its own length."""

    prompt: str
    seconds: float | None = None


@dataclass(frozen=True)
class Lora:
    """An adapter, by file or hub id, and how strongly it counts."""

    source: str
    scale: float = 1.0


@dataclass(frozen=True)
class Request:
    """All that can be asked for; only `prompt` is required. Sizes in pixels, times in seconds."""

    prompt: str
    original_prompt: str | None = None  # the person's own words, where the prompt is what these were expanded to
    negative_prompt: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    seconds: float | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    seed: int | None = None
    conditions: tuple[Condition, ...] = ()
    shots: tuple[Shot, ...] = ()
    loras: tuple[Lora, ...] = ()
    finish: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what is set, as JSON types; what is unset is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None and value not in ((), {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Request:
        """Read a request from JSON types; raise `InvalidRequest` for a field that is unknown or of the wrong type."""
        known = {f.name for f in fields(cls)}
        for key in data:
            if key not in known:
                raise InvalidRequest(key, f"'{key}' is not a field of a request{_near(key, known)}.", code="unknown_field")
        if data.get("prompt") is None:
            raise InvalidRequest("prompt", "A request needs a prompt.", code="missing_field")
        values: dict[str, Any] = {key: _read(key, value) for key, value in data.items() if value is not None}
        return cls(**values)


@dataclass(frozen=True)
class Resolved:
    """A request with every choice made: what comes out (`target`), and what the model is given (`run`).

    They differ where the model's rules ask for more frames or a larger picture than was asked for; the engine crops.
    """

    target: Request
    run: Request


_WHOLE = {"width", "height", "num_frames", "fps", "num_inference_steps", "seed"}
_REAL = {"seconds", "guidance_scale"}
_TEXT = {"prompt", "original_prompt", "negative_prompt", "model", "sampler"}
_ITEM_TYPES: dict[str, type | tuple[type, ...]] = {
    "source": str, "kind": str, "prompt": str, "frame_index": int, "strength": (int, float), "scale": (int, float),
    "seconds": (int, float),
}  # fmt: skip
_LISTS: dict[str, type] = {"conditions": Condition, "shots": Shot, "loras": Lora}


def _read(key: str, value: Any) -> Any:
    if key in _WHOLE:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(key, f"{key} is {value!r}; it must be a whole number.")
        return value
    if key in _REAL:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidRequest(key, f"{key} is {value!r}; it must be a number.")
        return float(value)
    if key in _TEXT:
        if not isinstance(value, str):
            raise InvalidRequest(key, f"{key} is {value!r}; it must be text.")
        return value
    if key == "options":
        if not isinstance(value, Mapping):
            raise InvalidRequest(key, f"options is {value!r}; it must map names to values.")
        return dict(value)
    if not isinstance(value, list | tuple):
        raise InvalidRequest(key, f"{key} is {value!r}; it must be a list.")
    if key == "finish":
        if not all(isinstance(step, Mapping) for step in value):
            raise InvalidRequest(key, f"finish is {value!r}; each step must map names to values.")
        return tuple(dict(step) for step in value)
    return tuple(_read_item(key, item) for item in value)


def _read_item(key: str, item: Any) -> Any:
    kind = _LISTS[key]
    allowed = {f.name for f in fields(kind)}
    if not isinstance(item, Mapping) or not set(item) <= allowed:
        raise InvalidRequest(key, f"{item!r} in {key} must map some of {', '.join(sorted(allowed))} to values.")
    try:
        made = kind(**item)
    except TypeError:
        raise InvalidRequest(key, f"{item!r} in {key} lacks its '{fields(kind)[0].name}'.") from None
    for name, types in _ITEM_TYPES.items():
        if name in item and (isinstance(item[name], bool) or not isinstance(item[name], types)):
            raise InvalidRequest(key, f"{name} in {key} is {item[name]!r}, which is of the wrong type.")
    return made


def tasks_of(request: Request, slack: int = 1) -> tuple[str, ...]:
    """Return what a model must be able to do for a request, the most telling first.

    Pictures are one task together: the first frame, the first and the last, or any. A video that is kept as it is goes on. Where
    more frames are drawn than were asked for, the last one asked for is within `slack` of the end.
    """
    kinds: dict[str, list[Condition]] = {}
    for condition in request.conditions:
        kinds.setdefault(condition.kind, []).append(condition)
    tasks = {kind: f"{kind}-to-video" for kind in kinds if kind == "character"} | {"control": "control"}
    if "video" in kinds:
        tasks["video"] = "video-extension" if all(video.strength >= 1 for video in kinds["video"]) else "video-to-video"
    if "image" in kinds:
        end = request.num_frames - slack if request.num_frames else math.inf
        at = {0 if (i := image.frame_index) == 0 else -1 if i == -1 or i >= end else 1 for image in kinds["image"]}
        tasks["image"] = "image-to-video" if at == {0} else "keyframes" if 1 in at else "first-last-frame"
    return tuple(tasks[kind] for kind in ("control", "video", "image", "character") if kind in kinds) or ("text-to-video",)


def size_of(short: int, shape: str) -> tuple[int, int]:
    """Return width and height for a short side, of `LONG_SIDES`, and a shape, of `SHAPES`."""
    long = LONG_SIDES[short]
    return {"16:9": (long, short), "9:16": (short, long), "1:1": (short, short)}[shape]


def slug(prompt: str) -> str:
    """Return the name that a prompt gives a file, without its ending."""
    return re.sub(r"[^\w]+", "-", prompt.strip().lower()).strip("-_")[:80].rstrip("-_") or "film"


def resolve(request: Request, card: ModelCard) -> Resolved:
    """Fill every unset field from the card, check every field against it, and snap up to the model's sizes.

    What the card leaves to whoever runs the model stays unset: steps, guidance and the sampler of a model that is elsewhere.
    Raises `InvalidRequest` with the field, its value and what is allowed. A missing seed is drawn here.
    """
    check_tasks(request, card)
    return fill(request, card)


def fill(request: Request, card: ModelCard) -> Resolved:
    """Resolve a request without asking whether the model can do its task: its size and its length are all that is wanted."""
    if not request.prompt.strip():
        raise InvalidRequest("prompt", "The prompt is empty: say what you want to see.")
    for name in ("prompt", "original_prompt", "negative_prompt"):
        _check_text(name, getattr(request, name) or "")
    options = _options(request, card)
    defaults, limits = card.defaults_of(options.get("preset", STANDARD)), card.limits
    fps = request.fps if request.fps is not None else card.fps
    _within("fps", fps, limits.min_fps, limits.max_fps, "")
    num_frames, seconds = _length(request, card, fps)
    width = request.width if request.width is not None else int(defaults["width"])
    height = request.height if request.height is not None else int(defaults["height"])
    for name, side in (("width", width), ("height", height)):
        _within(name, side, limits.min_side, limits.max_side, " pixels")
        if side % 2:
            raise InvalidRequest(name, f"{name} is {side}; video needs even sizes: try {side + 1}.")
    steps = request.num_inference_steps if request.num_inference_steps is not None else defaults["num_inference_steps"]
    if steps is not None:
        _within("num_inference_steps", steps, 1, limits.max_steps, "")
    guidance = request.guidance_scale if request.guidance_scale is not None else defaults["guidance_scale"]
    if guidance is not None:
        _within("guidance_scale", guidance, 0, 100, "")
    if request.seed is not None:
        _within("seed", request.seed, 0, 2**63 - 1, "")
    sampler = request.sampler or defaults.get("sampler")
    if request.sampler and request.sampler not in card.samplers:
        allowed = ", ".join(card.samplers) or "none to choose from"
        raise InvalidRequest("sampler", f"sampler is '{request.sampler}'; {card.id} has: {allowed}.")
    conditions = tuple(_placed(condition, num_frames) for condition in request.conditions)
    said = {lora.source for lora in request.loras}  # what a preset brings, too, at a scale of its own
    loras = (*(Lora(source) for source in defaults.get("loras", ()) if source not in said), *request.loras)
    target = replace(
        request, model=card.id, width=width, height=height, num_frames=num_frames, seconds=seconds, fps=fps, sampler=sampler,
        num_inference_steps=steps, guidance_scale=guidance, negative_prompt=request.negative_prompt or "",
        seed=request.seed if request.seed is not None else secrets.randbits(32), options=options,
        conditions=conditions, loras=loras,
    )  # fmt: skip
    multiple, stride, offset = card.size_multiple, card.frame_stride, card.frame_offset
    run = replace(
        target,
        width=-(-width // multiple) * multiple,
        height=-(-height // multiple) * multiple,
        num_frames=max(0, -(-(num_frames - offset) // stride)) * stride + offset,
    )
    return Resolved(target, run)


def check_tasks(request: Request, card: ModelCard) -> None:
    """Raise `InvalidRequest` for what the model can't do at all, whatever the size."""
    for condition in request.conditions:
        if condition.kind not in CONDITIONS:
            raise InvalidRequest("conditions", f"kind is {condition.kind!r}; there are: {', '.join(CONDITIONS)}.")
    for task in tasks_of(request):
        if task not in card.tasks:
            words = f"{card.id} does no {task}; it does: {', '.join(card.tasks)}."
            raise InvalidRequest("conditions", words, code="not_supported")
    for name in ("shots", "loras", "finish"):
        if getattr(request, name) and not (name == "loras" and card.loras):
            words = f"{card.id} takes no {name} yet; it does: {', '.join(card.tasks)}."
            raise InvalidRequest(name, words, code="not_supported")


def _placed(condition: Condition, num_frames: int) -> Condition:
    """Check a condition, and count its frame from the start."""
    if not -num_frames <= condition.frame_index < num_frames:
        words = f"frame_index is {condition.frame_index}; the video has {num_frames} frames: {-num_frames} to {num_frames - 1}."
        raise InvalidRequest("conditions", words)
    _within("strength", condition.strength, 0, 1, "")
    return replace(condition, frame_index=condition.frame_index % num_frames)


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            name, f"{name} holds a byte that is no text, after {text[: error.start]!r}: write it in UTF-8."
        ) from None


def _length(request: Request, card: ModelCard, fps: int) -> tuple[int, float]:
    limits = card.limits
    if request.num_frames is not None:
        if request.seconds is not None and round(request.seconds * fps) != request.num_frames:
            raise InvalidRequest(
                "num_frames",
                f"num_frames is {request.num_frames}, but {request.seconds:g} s at {fps} fps are "
                f"{round(request.seconds * fps)} frames: give one of the two.",
            )
        if request.num_frames < 1 or request.num_frames > limits.max_seconds * fps:
            raise InvalidRequest(
                "num_frames",
                f"num_frames is {request.num_frames}; {card.id} makes 1 to {int(limits.max_seconds * fps)} at {fps} fps.",
            )
        return request.num_frames, request.num_frames / fps
    seconds = request.seconds if request.seconds is not None else float(card.defaults["seconds"])
    _within("seconds", seconds, limits.min_seconds, limits.max_seconds, " s")
    return max(1, round(seconds * fps)), seconds


def _within(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        given, least, most = (int(v) if v == int(v) else v for v in (value, low, high))
        raise InvalidRequest(name, f"{name} is {given}{unit}; it must be from {least} to {most}{unit}.")


def _options(request: Request, card: ModelCard) -> dict[str, Any]:
    known = dict(card.options)
    if card.presets:
        known["preset"] = Option(STANDARD, "how much time it may take", choices=(STANDARD, *card.presets))
    for name, value in request.options.items():
        option = known.get(name)
        if option is None:
            hint = _near(name, set(known)) or f": it has {', '.join(sorted(known)) or 'none'}"
            raise InvalidRequest("options", f"{card.id} has no option '{name}'{hint}.", code="unknown_option")
        if option.choices and value not in option.choices:
            choices = ", ".join(map(str, option.choices))
            raise InvalidRequest("options", f"option {name} is {value!r}; {card.id} allows: {choices}.")
        if not isinstance(value, type(option.default)) and option.default is not None:
            kind = type(option.default).__name__
            raise InvalidRequest("options", f"option {name} is {value!r}; it must be of type {kind}.")
    own = card.defaults_of(request.options.get("preset", STANDARD)).get("options", {})
    return {**{name: option.default for name, option in known.items()}, **own, **request.options}


def _near(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=3)
    return f"; did you mean {' or '.join(near)}" if near else ""
