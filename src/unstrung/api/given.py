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

from sqlalchemy import Connection
from starlette.datastructures import UploadFile

from unstrung import engine
from unstrung.api import fetch
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.files import open_file
from unstrung.api.schema import Asked, model_of, read_create
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Status
from unstrung.jobs.uploads import Upload, add_upload, find_upload, get_upload, take_in
from unstrung.media.vet import sniff, vet
from unstrung.request import Condition, Request

MOST_CHARACTERS = 2
MOST_FETCHED, FETCH_SECONDS = 20 * 2**20, 20.0  # of a picture by its address, where the host fetches any
EDITED = Condition("video", strength=0.6, kind="video")  # it leads, and the words may change it
EXTENDED = Condition("video", kind="video")  # it stays as it is, and what is made goes on from it
READABLE = {"image": "a PNG, JPEG or WebP picture", "video": "an MP4, MOV, WebM or MKV video"}


@dataclass(frozen=True)
class Source:
    """A video to change, or to go on from: the request that would make another of its kind, and its length in seconds."""

    id: str
    request: Request
    seconds: float
    video_id: str | None  # where it was made here


class Intake:
    """What is sent with one request: each file is read in a process of its own, and stays if what was asked for was taken.

    A context: what was not kept by the end of it is gone again.
    """

    def __init__(self, desk: Desk, caller: Caller) -> None:
        self.desk, self.caller = desk, caller
        self.folder = desk.folder / "uploads"
        self.taken: list[Upload] = []

    def __enter__(self) -> Intake:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files that nobody has asked to keep, or that could not be kept."""
        for upload in self.taken:
            if find_upload(self.desk.store, upload.id) is None:
                (self.folder / upload.file).unlink(missing_ok=True)

    def take(self, data: bytes, kind: str, field: str, name: str | None = None) -> Upload:
        """Read what was sent, and write that anew; raise `InvalidRequest` for what can't be read."""
        wanted = "image" if kind == "image" else "video"
        found = sniff(data[:12])
        if found is None or found[0] != wanted:
            raise InvalidRequest(field, f"{field} is not {READABLE[wanted]}.", code="unsupported_media")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.desk.vetting, TemporaryDirectory(dir=self.folder, prefix=".vet-") as place:
            source, target = Path(place) / f"sent{found[1]}", Path(place) / f"kept{'.png' if wanted == 'image' else '.mp4'}"
            source.write_bytes(data)
            try:
                vetted = vet(source, target)
            except UnstrungError as error:
                raise InvalidRequest(field, error.message, code=error.code) from None
            upload = take_in(self.folder, target, vetted, owner=self.caller.owner, kind=kind, name=name)
        self.taken.append(upload)
        return upload

    def keep(self, connection: Connection) -> None:
        """Keep what was taken, in the transaction that keeps what it is for; raise `OverLimit` where there is no room."""
        for upload in self.taken:
            add_upload(connection, upload, self.caller.allowance)


def read_video(desk: Desk, fields: dict[str, Any], caller: Caller, sent: Intake) -> Asked:
    """Read what a video is asked for with, pictures and characters too.

    A picture is opened only where everything else would do: what is refused anyway costs nothing.
    """
    reference, listed = fields.pop("input_reference", None), fields.pop("characters", None)
    asked = read_create(fields, desk.rules.aliases)
    conditions = _characters(desk, listed or [], asked.request.prompt, caller)
    if reference is not None:
        desk.look(_with(asked, (Condition("upload"), *conditions)), caller)
        upload = sent.take(_read(desk, reference, caller), "image", "input_reference")
        conditions = (Condition(upload.id), *conditions)
    return _with(asked, conditions)


def _with(asked: Asked, conditions: tuple[Condition, ...]) -> Asked:
    return replace(asked, request=replace(asked.request, conditions=conditions))


def _characters(desk: Desk, listed: Any, prompt: str, caller: Caller) -> tuple[Condition, ...]:
    conditions = []
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
        if character.name and character.name.lower() not in prompt.lower():
            words = f"The prompt does not speak of '{character.name}': a character appears where its name does."
            raise InvalidRequest("prompt", words)
        conditions.append(Condition(character.id, kind="character"))
    return tuple(conditions)


def read_source(desk: Desk, fields: dict[str, Any], caller: Caller, sent: Intake, task: Condition) -> Source:
    """Take `video` out of the fields: a file, or a finished video by its id, alone or in an object; `task` says what for."""
    value = fields.pop("video", None)
    if value is None:
        raise InvalidRequest("video", "Which video? Send a file, or the id of one.", code="missing_required_parameter")
    name = fields.pop("model", None)
    if isinstance(value, UploadFile):
        request = Request("", model=model_of(name, desk.rules.aliases), conditions=(task,))
        engine.check_able(request, desk.card(request.model))  # before the file is opened
        upload = sent.take(value.file.read(), "video", "video")
        request = replace(request, width=even(upload.width), height=even(upload.height), fps=upload.fps, conditions=())
        return Source(upload.id, request, upload.num_frames / upload.fps, None)
    id = value.get("id") if isinstance(value, Mapping) else value
    if not isinstance(id, str):
        raise InvalidRequest("video", "video must be a file, the id of a video, or like {'id': 'video_...'}.")
    return video_source(desk, id, caller, name)


def video_source(desk: Desk, id: str, caller: Caller, model: Any = None) -> Source:
    """Return a finished video as a source, for the model that made it or the one that is named.

    Raises `UnstrungError` where it is not finished, or not the caller's to see.
    """
    job, clip = desk.store.get(id, caller.sees, or_public=True), desk.store.clip(id)
    if clip is None or job.status is not Status.COMPLETED:
        raise UnstrungError("not_ready", "video", f"Video {id} is {job.status}: only a finished one can be gone on from.")
    out = clip.recipe.output
    request = replace(
        job.request, width=out["width"], height=out["height"], fps=out["fps"], num_frames=None, conditions=(), seed=None
    )
    named = request.model if model is None else model_of(model, desk.rules.aliases)
    if named != request.model:  # what was chosen for one model says nothing to another
        request = replace(request, model=named, sampler=None, num_inference_steps=None, guidance_scale=None, loras=(), options={})
    return Source(id, request, out["num_frames"] / out["fps"], id)


def edited(source: Source) -> Request:
    """Return the request for a source, to be said in other words."""
    return replace(source.request, seconds=source.seconds, conditions=(replace(EDITED, source=source.id),))


def extended(source: Source, seconds: float) -> Request:
    """Return the request for a source with so many seconds more."""
    return replace(source.request, seconds=source.seconds + seconds, conditions=(replace(EXTENDED, source=source.id),))


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
