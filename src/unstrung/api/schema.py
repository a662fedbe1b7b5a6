"""The Videos API's words and ours: the only place that knows both.

Names that the API has are its own; further ones are those that the open servers use (vLLM-Omni, SGLang). Everything that the
API never had comes in one field, `unstrung`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from unstrung.errors import InvalidRequest
from unstrung.job import Job, Status
from unstrung.jobs.queue import Turn
from unstrung.request import DEFAULT_MODEL, Lora, Request

# what programs ask for that were written for the hosted service
HOSTED = ("sora-2", "sora-2-pro", "sora-2-2025-10-06", "sora-2-pro-2025-10-06", "sora-2-2025-12-08")
DEFAULT_SECONDS, DEFAULT_SIZE = "4", "720x1280"

MOST_VARIANTS = 16
# a file by its path is for whoever sits at the machine; after a # comes for which of two experts it is
LORA = re.compile(r"hf:[\w.+-]+(/[\w.+-]+)+(#[12])?")

CHOICES = ("prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "lora", "n", "draft", "public")
SHAPE = ("model", "seconds", "size", "width", "height", "num_frames", "fps")


Wire = Literal["queued", "in_progress", "completed", "failed"]
_WIRE: dict[Status, Wire] = {
    Status.QUEUED: "queued", Status.IN_PROGRESS: "in_progress", Status.COMPLETED: "completed", Status.FAILED: "failed",
    Status.CANCELED: "failed",
}  # fmt: skip


class VideoError(BaseModel):
    """Why a video failed: `code` for programs, `message` for people."""

    code: str
    message: str


class Extras(BaseModel):
    """What the Videos API never said: the job's own status, its turn, and what it was asked for."""

    status: Literal["queued", "in_progress", "completed", "failed", "canceled"]
    draft: bool
    public: bool = Field(description="published: everybody who may ask here may see it")
    attempt: int = Field(description="how often a worker has begun it")
    position: int | None = Field(default=None, description="how many go before it; null unless it waits")
    starts_in: float | None = Field(
        default=None, description="seconds until it begins, from measured times; null unless it waits and somebody works"
    )
    ends_in: float | None = Field(
        default=None, description="seconds until it is done, from measured times; null unless it waits and somebody works"
    )
    request: dict[str, Any] = Field(description="the request in our words, with the seed that was chosen")
    variants: list[str] | None = Field(default=None, description="all that were asked for with `n`, when they are asked for")


class Video(BaseModel):
    """A video on its way or done. Times are seconds since 1970."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Wire
    progress: int = Field(ge=0, le=100)
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str
    seconds: str
    size: str
    remixed_from_video_id: str | None
    error: VideoError | None
    unstrung: Extras


class VideoList(BaseModel):
    """A page of videos; the next one is `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[Video]
    has_more: bool
    first_id: str | None
    last_id: str | None


class VideoDeleted(BaseModel):
    """A video is gone, with its file."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class ErrorBody(BaseModel):
    """What is wrong, in OpenAI's envelope."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """What every answer above 399 holds."""

    error: ErrorBody


class Reference(BaseModel):
    """Something that is here already, by its id."""

    id: str


class InputReference(BaseModel):
    """A picture to start from."""

    image_url: str | None = Field(None, description="a data URL of a PNG, JPEG or WebP picture")
    file_id: str | None = Field(None, description="a file that was sent before")


class LoraChoice(BaseModel):
    """An adapter that this host has, by its name on the hub."""

    name: str
    scale: float = 1.0


class Choices(BaseModel):
    """What can be said of every video; only `prompt` is required."""

    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    lora: str | LoraChoice | list[LoraChoice] | None = None
    n: int = Field(1, description="how many, each with a seed of its own")
    draft: bool = Field(False, description="a quick try, which goes before finals within reason")
    public: bool = Field(False, description="let everybody who may ask here see it")


class RemixVideo(Choices):
    """What a finished video is made anew with; what is not said is as it was, but for the seed."""

    model: str | None = Field(None, description="default: the model that made the video")


class EditVideo(RemixVideo):
    """A video and the words that change it; in a form `video` may be a file."""

    video: Reference | str


class ExtendVideo(EditVideo):
    """A video and how it goes on; in a form `video` may be a file."""

    seconds: str | float = Field(description="how much longer it gets")


class CreateCharacter(BaseModel):
    """Who is in a short video; sent as a form."""

    name: str = Field(min_length=1, max_length=80)
    video: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]


class Character(BaseModel):
    """A character that prompts may speak of by name."""

    id: str
    object: Literal["character"] = "character"
    name: str
    created_at: int


class CharacterDeleted(BaseModel):
    """A character is gone."""

    id: str
    object: Literal["character.deleted"] = "character.deleted"
    deleted: Literal[True] = True


class CharacterList(BaseModel):
    """All of one's characters, the oldest first."""

    object: Literal["list"] = "list"
    data: list[Character]


class CreateVideo(Choices):
    """What a video is asked for with; only `prompt` is required. As JSON, or as form data."""

    model: str = Field("sora-2", description="a model of this host; the hosted service's names stand for the host's choice")
    seconds: str | float = DEFAULT_SECONDS
    size: str = Field(DEFAULT_SIZE, description="width and height in pixels, as 1280x720")
    width: int | None = Field(None, description="with `height`, instead of `size`")
    height: int | None = None
    num_frames: int | None = Field(None, description="instead of `seconds`")
    fps: int | None = None
    input_reference: InputReference | None = Field(None, description="the first frame; in a form also a file, PNG, JPEG or WebP")
    characters: list[Reference] | None = Field(None, description="at most two, whose names the prompt must speak of")


@dataclass(frozen=True)
class Asked:
    """A request as the API's words say it, and what else was said of the job."""

    request: Request
    draft: bool = False
    public: bool = False
    variants: int = 1
    remixed_from: str | None = None


def read_create(fields: Mapping[str, Any], aliases: Mapping[str, str]) -> Asked:
    """Read what a video is asked for with; form data has text for numbers. Raises `InvalidRequest`."""
    _check_known(fields, (*CHOICES, *SHAPE))
    whole: dict[str, Any] = {name: _whole(name, fields[name]) for name in SHAPE[3:] if fields.get(name) is not None}
    if ("width" in whole) != ("height" in whole):
        missing = "height" if "width" in whole else "width"
        raise InvalidRequest(missing, f"{missing} is missing: give width and height, or size.")
    if "width" not in whole:
        whole["width"], whole["height"] = _size(fields.get("size") or DEFAULT_SIZE)
    seconds = None
    if "num_frames" not in whole or fields.get("seconds") is not None:
        seconds = _number("seconds", fields.get("seconds") or DEFAULT_SECONDS)
    return _chosen(Request("", model=model_of(fields.get("model"), aliases), seconds=seconds, **whole), fields)


def read_change(fields: Mapping[str, Any], request: Request, remixed_from: str | None) -> Asked:
    """Read how a video is to be made from another, whose request this is; what is not said stays. Raises `InvalidRequest`."""
    _check_known(fields, CHOICES)
    return replace(_chosen(request, fields), remixed_from=remixed_from)


def _check_known(fields: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'" if near else f"; known are: {', '.join(known)}"
            raise InvalidRequest(name, f"'{name}' is not a field here{hint}.", code="unknown_parameter")
    if not isinstance(fields.get("prompt"), str):
        raise InvalidRequest("prompt", "A video needs a prompt: say what you want to see.", code="missing_required_parameter")


def _chosen(request: Request, fields: Mapping[str, Any]) -> Asked:
    """Return a request with all that is said of it."""
    said = {name: fields[name] for name in CHOICES if fields.get(name) is not None}
    chosen: dict[str, Any] = {name: said[name] for name in ("prompt", "negative_prompt") if name in said}
    if not isinstance(said.get("negative_prompt", ""), str):
        raise InvalidRequest("negative_prompt", f"negative_prompt is {said['negative_prompt']!r}; it must be text.")
    chosen |= {name: _whole(name, said[name]) for name in ("seed", "num_inference_steps") if name in said}
    if "guidance_scale" in said:
        chosen["guidance_scale"] = _number("guidance_scale", said["guidance_scale"])
    if "lora" in said:
        chosen["loras"] = _loras(said["lora"])
    variants = _whole("n", said.get("n", 1))
    if not 1 <= variants <= MOST_VARIANTS:
        raise InvalidRequest("n", f"n is {variants}; it must be from 1 to {MOST_VARIANTS}.")
    return Asked(
        replace(request, **chosen), _yes("draft", said.get("draft", False)), _yes("public", said.get("public", False)), variants
    )


def read_fields(fields: Mapping[str, Any], *required: str) -> dict[str, str]:
    """Read the fields of a verb that takes text alone; raise `InvalidRequest` for one that is missing or of no use here."""
    for name in fields:
        if name not in required:
            words = f"'{name}' is not asked for here; known are: {', '.join(required)}."
            raise InvalidRequest(name, words, code="unknown_parameter")
    for name in required:
        if not isinstance(fields.get(name), str):
            raise InvalidRequest(name, f"'{name}' is missing, or no text.", code="missing_required_parameter")
    return dict(fields)


def read_seconds(value: Any) -> float:
    """Read by how many seconds a video is to go on; raise `InvalidRequest`."""
    seconds = _number("seconds", value)
    if seconds <= 0:
        raise InvalidRequest("seconds", f"seconds is {seconds:g}; it is how long the new part is, so it must be more than 0.")
    return seconds


def _loras(value: Any) -> tuple[Lora, ...]:
    """Read adapters by name, alone or as a list of {name, scale}."""
    loras = []
    for item in value if isinstance(value, list) else [value]:
        item = {"name": item} if isinstance(item, str) else item
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or not set(item) <= {"name", "scale"}:
            raise InvalidRequest("lora", f"lora is {item!r}; it must be a name, or like {{'name': ..., 'scale': 1.0}}.")
        if not LORA.fullmatch(item["name"]):
            words = f"lora is '{item['name']}'; it must be one that this host has, like hf:OWNER/NAME or hf:OWNER/NAME/FILE."
            raise InvalidRequest("lora", words)
        loras.append(Lora(item["name"], _number("lora[scale]", item.get("scale", 1.0))))
    return tuple(loras)


def model_of(name: Any, aliases: Mapping[str, str]) -> str:
    """Return the model that a name stands for on this host; raise `InvalidRequest` for what is no name."""
    if name is not None and not isinstance(name, str):
        raise InvalidRequest("model", f"model is {name!r}; it must be a name.")
    name = name or HOSTED[0]
    return aliases.get(name) or (DEFAULT_MODEL if name in HOSTED else name)


def video_of(job: Job, turn: Turn | None) -> Video:
    """Return a job in the API's words. A canceled one is called failed there: its clients know no other end."""
    asked = job.request
    error = VideoError(code=job.error.code, message=job.error.message) if job.error else None
    if job.status is Status.CANCELED:
        error = VideoError(code="canceled", message="Somebody who may do so canceled this video.")
    seconds = asked.seconds if asked.seconds is not None else (asked.num_frames or 0) / (asked.fps or 24)
    extras = Extras(
        status=job.status.value, draft=job.draft, public=job.public, attempt=job.attempt, request=asked.to_dict(),
    )  # fmt: skip
    if turn is not None:
        extras = extras.model_copy(update=turn.to_dict())
    return Video(
        id=job.id, model=asked.model or DEFAULT_MODEL, status=_WIRE[job.status], progress=job.progress,
        created_at=int(job.created_at), completed_at=_int(job.completed_at), expires_at=_int(job.expires_at),
        prompt=asked.prompt, seconds=f"{seconds:g}", size=f"{asked.width}x{asked.height}",
        remixed_from_video_id=job.remixed_from_video_id, error=error, unstrung=extras,
    )  # fmt: skip


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value.strip()):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(name, f"{name} is {value!r}; it must be a whole number.")
    return value


def _number(name: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(name, f"{name} is {value!r}; it must be a number.")
    return number


def _yes(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise InvalidRequest(name, f"{name} is {value!r}; it must be true or false.")


def _size(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise InvalidRequest("size", f"size is {value!r}; it must be like 1280x720.")
    return int(match[1]), int(match[2])
