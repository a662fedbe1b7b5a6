"""What a video is to be made from: pictures, clips and characters that are sent, and videos that are here already."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.datastructures import UploadFile

from unstrung.api import fetch
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.files import open_file
from unstrung.api.schema import model_of
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Status
from unstrung.jobs.uploads import Upload, add_upload, get_upload
from unstrung.media.vet import sniff, vet
from unstrung.request import Condition, Request

MOST_CHARACTERS = 2
MOST_FETCHED, FETCH_SECONDS = 20 * 2**20, 20.0  # of a picture by its address, where the host fetches any
EDIT_STRENGTH = 0.6  # of a video that is edited or remixed: it leads, and the words may change it
READABLE = {"image": "a PNG, JPEG or WebP picture", "video": "an MP4, MOV, WebM or MKV video"}


@dataclass(frozen=True)
class Source:
    """A video to change, or to go on from: the request that would make another of its kind, and its length in seconds."""

    id: str
    request: Request
    seconds: float
    video_id: str | None  # where it was made here


def read_conditions(desk: Desk, fields: dict[str, Any], caller: Caller) -> tuple[Condition, ...]:
    """Take `input_reference` and `characters` out of the fields, keep what was sent, and return what the model is to heed."""
    conditions = []
    reference = fields.pop("input_reference", None)
    if reference is not None:
        upload = keep(desk, _read(desk, reference, caller), "image", caller, "input_reference")
        conditions.append(Condition(upload.id))
    listed = fields.pop("characters", None) or []
    if not isinstance(listed, list) or len(listed) > MOST_CHARACTERS:
        words = f"characters must be a list of at most {MOST_CHARACTERS}, each like {{'id': 'char_...'}}."
        raise InvalidRequest("characters", words)
    for item in listed:
        id = item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(id, str):
            raise InvalidRequest("characters", "Each character must be like {'id': 'char_...'}.")
        character = get_upload(desk.store, id, caller.sees)
        if character.kind != "character":
            raise InvalidRequest("characters", f"'{id}' is no character.")
        prompt = fields.get("prompt")
        if character.name and isinstance(prompt, str) and character.name.lower() not in prompt.lower():
            words = f"The prompt does not speak of '{character.name}': a character appears where its name does."
            raise InvalidRequest("prompt", words)
        conditions.append(Condition(character.id, kind="character"))
    return tuple(conditions)


def read_source(desk: Desk, fields: dict[str, Any], caller: Caller) -> Source:
    """Take `video` out of the fields: a file, or a finished video by its id, alone or in an object."""
    value = fields.pop("video", None)
    if value is None:
        raise InvalidRequest("video", "Which video? Send a file, or the id of one.", code="missing_required_parameter")
    name = fields.pop("model", None)
    if isinstance(value, UploadFile):
        upload = keep(desk, value.file.read(), "video", caller, "video")
        request = Request(
            "", model=model_of(name, desk.rules.aliases), width=even(upload.width), height=even(upload.height), fps=upload.fps
        )
        return Source(upload.id, request, upload.num_frames / upload.fps, None)
    id = value.get("id") if isinstance(value, Mapping) else value
    if not isinstance(id, str):
        raise InvalidRequest("video", "video must be a file, the id of a video, or like {'id': 'video_...'}.")
    source = video_source(desk, id, caller)
    if name is None:
        return source
    return replace(source, request=replace(source.request, model=model_of(name, desk.rules.aliases)))


def video_source(desk: Desk, id: str, caller: Caller) -> Source:
    """Return a finished video as a source; raise `UnstrungError` where it is not finished, or not the caller's to see."""
    job, clip = desk.store.get(id, caller.sees, or_public=True), desk.store.clip(id)
    if clip is None or job.status is not Status.COMPLETED:
        raise UnstrungError("not_ready", "video", f"Video {id} is {job.status}: only a finished one can be gone on from.")
    out = clip.recipe.output
    request = replace(job.request, width=out["width"], height=out["height"], fps=out["fps"], num_frames=None, conditions=())
    return Source(id, request, out["num_frames"] / out["fps"], id)


def edited(source: Source, prompt: str) -> Request:
    """Return the request for a source as other words have it."""
    leads = Condition(source.id, strength=EDIT_STRENGTH, kind="video")
    return replace(source.request, prompt=prompt, seconds=source.seconds, conditions=(leads,))


def extended(source: Source, prompt: str, seconds: float) -> Request:
    """Return the request for a source with so many seconds more."""
    begins = Condition(source.id, kind="video")
    return replace(source.request, prompt=prompt, seconds=source.seconds + seconds, conditions=(begins,))


def keep(desk: Desk, data: bytes, kind: str, caller: Caller, field: str, name: str | None = None) -> Upload:
    """Read what was sent in a process of its own, and keep what that wrote; raise `UnstrungError` for what can't be read."""
    wanted = "image" if kind == "image" else "video"
    found = sniff(data[:12])
    if found is None or found[0] != wanted:
        raise InvalidRequest(field, f"{field} is not {READABLE[wanted]}.", code="unsupported_media")
    folder = desk.folder / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    with desk.vetting, TemporaryDirectory(dir=folder, prefix=".vet-") as place:
        source, target = Path(place) / f"sent{found[1]}", Path(place) / f"kept{'.png' if wanted == 'image' else '.mp4'}"
        source.write_bytes(data)
        try:
            vetted = vet(source, target)
        except UnstrungError as error:
            raise InvalidRequest(field, error.message, code=error.code) from None
        return add_upload(
            desk.store, folder, target, vetted, owner=caller.owner, kind=kind, name=name, allowance=caller.allowance
        )


def _read(desk: Desk, reference: Any, caller: Caller) -> bytes:
    if isinstance(reference, UploadFile):
        return reference.file.read()
    if isinstance(reference, Mapping) and isinstance(reference.get("file_id"), str):
        return open_file(desk, reference["file_id"], caller).read_bytes()
    url = reference.get("image_url") if isinstance(reference, Mapping) else None
    if not isinstance(url, str):
        words = "input_reference must be a picture's file, or like {'image_url': ...} or {'file_id': 'file-...'}."
        raise InvalidRequest("input_reference", words)
    if desk.rules.fetch_images and not url.startswith("data:"):
        try:
            return fetch.get(url, most_bytes=MOST_FETCHED, seconds=FETCH_SECONDS)[1]
        except fetch.FetchFailed as error:
            raise InvalidRequest("image_url", error.message, code=error.code) from None
    return _data_url(url)


def _data_url(url: str) -> bytes:
    match = re.match(r"data:image/(?:png|jpeg|webp);base64,", url)
    if match is None:
        words = "image_url must be like data:image/png;base64,... (PNG, JPEG or WebP); this host fetches nothing from elsewhere."
        raise InvalidRequest("image_url", words)
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("image_url", "image_url is not valid base64.") from None


def even(side: int) -> int:
    """Return the nearest even number of pixels below or at a side, as videos have."""
    return max(2, side // 2 * 2)
