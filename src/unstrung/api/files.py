"""The routes of `/v1/files`: what is uploaded for batches and as pictures, and what batches wrote."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, cast, get_args

from fastapi import FastAPI, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from unstrung.api.body import read_upload
from unstrung.api.callers import Caller
from unstrung.api.content import PARTS, PartialFile
from unstrung.api.desk import Desk
from unstrung.errors import InvalidRequest
from unstrung.jobs import files
from unstrung.jobs.files import StoredFile

DEFAULT_KEPT = {"batch": 30 * 86400}  # seconds, as the hosted service keeps them; pictures stay until they are deleted

Id = Annotated[str, Path(description="A file's id.", max_length=200)]
Purpose = Literal["batch", "batch_output", "vision", "user_data"]
FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(files.PURPOSES)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": files.KEPT_SECONDS[0], "maximum": files.KEPT_SECONDS[1]},
    },
}
BODY = {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}


class FileObject(BaseModel):
    """A file that was uploaded, or that a batch wrote. Times are seconds since 1970."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"
    status_details: str | None = Field(default=None, description="always null")


class FileList(BaseModel):
    """A page of files; the next one is `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileDeleted(BaseModel):
    """A file is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


def open_file(desk: Desk, id: str, caller: Caller) -> FilePath:
    """Return where the bytes of somebody's file are; raise `NoSuchFile` where there is none that the caller may see."""
    path = files.path_of(desk.folder, files.get(desk.store, id, caller.sees).id)
    if not path.exists():  # deleted since
        raise files.NoSuchFile(id)
    return path


def kept_for(name: str, value: Any) -> int:
    """Read for how many seconds a file is to be kept; raise `InvalidRequest`."""
    least, most = files.KEPT_SECONDS
    if not isinstance(value, dict) or value.get("anchor") != "created_at" or not set(value) <= {"anchor", "seconds"}:
        raise InvalidRequest(name, f'{name} must be like {{"anchor": "created_at", "seconds": {least}}}.')
    seconds = value.get("seconds")
    if isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 20:  # a form has text for numbers
        seconds = int(seconds)
    if type(seconds) is not int or not least <= seconds <= most:
        words = f"{name}.seconds is {seconds!r}; it must be a whole number from {least} to {most}."
        raise InvalidRequest(f"{name}.seconds", words)
    return seconds


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that OpenAI's Files API has, for what this server has a use for."""
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/files", openapi_extra={"requestBody": BODY})
    async def create_file(request: Request, caller: Caller = writes) -> FileObject:
        """Upload a file."""
        fields = await read_upload(request, max(desk.rules.caps.batch_bytes, desk.rules.caps.picture_bytes))
        try:
            return _object(await run_in_threadpool(_keep, desk, fields, caller))
        finally:
            if isinstance(fields.get("file"), UploadFile):
                await fields["file"].close()

    @app.get("/v1/files")
    def list_files(
        after: Annotated[str | None, Query(max_length=200, description="The last file of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: Annotated[str | None, Query(max_length=64)] = None,
        caller: Caller = reads,
    ) -> FileList:
        """List one's files, a page at a time."""
        if purpose is not None and purpose not in get_args(Purpose):
            return FileList(data=[], has_more=False, first_id=None, last_id=None)  # nobody has files for anything else
        newest_first = order == "desc"
        found = files.page(
            desk.store, owner=caller.sees, purpose=purpose, after=after, limit=limit + 1, newest_first=newest_first
        )  # fmt: skip
        page = [_object(file) for file in found[:limit]]
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return FileList(data=page, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])

    @app.get("/v1/files/{file_id}")
    def retrieve_file(file_id: Id, caller: Caller = reads) -> FileObject:
        """See what is known of a file."""
        return _object(files.get(desk.store, file_id, caller.sees))

    @app.delete("/v1/files/{file_id}")
    def delete_file(file_id: Id, caller: Caller = writes) -> FileDeleted:
        """Remove a file; a batch that has begun with it goes on."""
        files.remove(desk.store, desk.folder, file_id, caller.sees)
        return FileDeleted(id=file_id)

    content: dict[int | str, dict[str, Any]] = {
        200: {"content": {kind: {} for kind in (files.LINES_KIND, "image/png", "image/jpeg", "image/webp")}},
        **PARTS,
    }  # fmt: skip

    @app.get("/v1/files/{file_id}/content", response_class=PartialFile, responses=content)
    def download_file(file_id: Id, caller: Caller = reads) -> PartialFile:
        """Get a file's bytes, or a part of them."""
        file = files.get(desk.store, file_id, caller.sees)
        # under our name for it, not under the client's
        return PartialFile(open_file(desk, file_id, caller), media_type=file.kind, filename=file.id)


def _keep(desk: Desk, fields: dict[str, Any], caller: Caller) -> StoredFile:
    """Check an upload and keep it; raise `InvalidRequest`, 413 or `OverLimit`."""
    if unknown := sorted(set(fields) - {"file", "purpose", "expires_after"}):
        words = f"'{unknown[0]}' is not a field of a file; known are: file, purpose, expires_after."
        raise InvalidRequest(unknown[0], words, code="unknown_parameter")
    file, purpose = fields.get("file"), fields.get("purpose")
    if not isinstance(file, UploadFile):
        raise InvalidRequest("file", "There is no file in the form.", code="missing_required_parameter")
    if purpose not in files.PURPOSES:
        raise InvalidRequest("purpose", f"purpose is {purpose!r}; it must be one of: {', '.join(files.PURPOSES)}.")
    seconds = DEFAULT_KEPT.get(purpose)
    if "expires_after" in fields:
        seconds = kept_for("expires_after", fields["expires_after"])
    most = desk.rules.caps.batch_bytes if purpose == "batch" else desk.rules.caps.picture_bytes
    if (file.size or 0) > most:
        raise HTTPException(413, f"The file has {file.size} bytes; with purpose '{purpose}' it may have {most}.")
    kind: str | None = files.LINES_KIND
    if purpose != "batch":
        kind = files.sniff(file.file.read(16))
        file.file.seek(0)
        if kind is None:
            raise InvalidRequest("file", f"With purpose '{purpose}' the file must be a PNG, JPEG or WebP picture; this is none.")
    assert kind
    return files.keep(
        desk.store, desk.folder, file.file, owner=caller.owner, purpose=purpose, filename=file.filename or "",
        kind=kind, seconds=seconds, allowance=caller.allowance,
    )  # fmt: skip


def _object(file: StoredFile) -> FileObject:
    return FileObject(
        id=file.id, bytes=file.bytes, created_at=int(file.created_at),
        expires_at=None if file.expires_at is None else int(file.expires_at), filename=file.filename,
        purpose=cast(Purpose, file.purpose),
    )  # fmt: skip
