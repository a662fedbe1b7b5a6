"""What a program sends: JSON, or form data whose bracketed names are nested."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import Depends
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from unstrung.errors import InvalidRequest

JSON, FORM = "application/json", "multipart/form-data"
MOST_BYTES = 32 * 2**20  # of a body: a data URL may have 20 million characters
AROUND_BYTES = 2**20  # that a form may have besides its file


async def read_body(request: Request) -> dict[str, Any]:
    """Return a request's fields; raise `InvalidRequest` for what can't be read, and 413 or 415 for what won't be."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in (FORM, "application/x-www-form-urlencoded"):
        await _limited(request)
        try:
            form = await request.form(max_files=8, max_fields=200)
        except (MultiPartException, HTTPException) as error:
            raise InvalidRequest("body", f"The form can't be read: {getattr(error, 'detail', error)}") from None
        return unfold(list(form.multi_items()))
    if kind not in (JSON, ""):
        raise HTTPException(415, f"The body is {kind}; send application/json or multipart/form-data.")
    try:
        fields = json.loads(await _limited(request) or b"{}")
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body", "The body must be a JSON object.")
    return fields


async def read_upload(request: Request, most: int) -> dict[str, Any]:
    """Return the fields of a form that has a file, of `most` bytes at most; the file is on disk, never whole in memory.

    Raises `InvalidRequest` for what can't be read, and 413 or 415 for what won't be. Close the file after use.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise HTTPException(415, f"The body is {kind or 'of no type'}; a file is sent as multipart/form-data.")
    too_large = HTTPException(413, f"The file has more than {most} bytes.")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:20]) > most + AROUND_BYTES:
        raise too_large  # before all of it has been sent

    async def counted() -> AsyncGenerator[bytes, None]:
        size = 0  # what a header says need not be true
        async for part in request.stream():
            size += len(part)
            if size > most + AROUND_BYTES:
                raise too_large
            yield part

    try:
        form = await MultiPartParser(request.headers, counted(), max_files=1, max_fields=20).parse()
    except MultiPartException as error:
        raise InvalidRequest("body", f"The form can't be read: {error.message}") from None
    except ClientDisconnect:
        raise InvalidRequest("body", "The upload broke off.") from None
    return unfold(list(form.multi_items()))


async def _limited(request: Request) -> bytes:
    """Read the whole body, but never more than `MOST_BYTES`; it stays readable for the form parser."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(413, f"The body has more than {MOST_BYTES} bytes.")
    body = request._body = b"".join(parts)  # where Starlette itself keeps a body that was read
    return body


def unfold(items: list[tuple[str, str | UploadFile]]) -> dict[str, Any]:
    """Nest bracketed names: `video[id]` is {"video": {"id": ...}}, `tags[]` a list, `characters[][id]` a list of objects."""
    out: dict[str, Any] = {}
    for name, value in items:
        head, *rest = re.findall(r"[^\[\]]+|\[\]", name)[:8] or [name]
        _put(out, head, rest, value)
    return out


def _put(into: dict[str, Any], key: str, rest: list[str], value: Any) -> None:
    if not rest:
        into[key] = value
    elif rest[0] == "[]":
        listed = into.setdefault(key, [])
        if not isinstance(listed, list):
            raise InvalidRequest(key, f"'{key}' is given both as a list and as a value.")
        if rest[1:]:
            # a name that its last object has already begins the next object
            if not listed or not isinstance(listed[-1], dict) or rest[1] in listed[-1]:
                listed.append({})
            _put(listed[-1], rest[1], rest[2:], value)
        else:
            listed.append(value)
    else:
        nested = into.setdefault(key, {})
        if not isinstance(nested, dict):
            raise InvalidRequest(key, f"'{key}' is given both as an object and as a value.")
        _put(nested, rest[0], rest[1:], value)


def takes(model: type[BaseModel], *kinds: str, file: str | None = None) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that is read by hand: JSON and forms, unless other kinds are given.

    In a form, the field `file` may be one.
    """
    schema = model.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    content = {kind: {"schema": schema} for kind in kinds or (JSON, FORM)}
    if file is not None:
        properties = schema["properties"]
        may_be = {"anyOf": [{"type": "string", "format": "binary"}, properties[file]]}
        content[FORM] = {"schema": {**schema, "properties": {**properties, file: may_be}}}
    return {"requestBody": {"required": True, "content": content}}


def digest(path: str, fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what is asked for: where, in which words, and with which files."""

    def content(file: UploadFile) -> str:
        file.file.seek(0)
        found = hashlib.sha256(file.file.read())
        file.file.seek(0)
        return found.hexdigest()

    return hashlib.sha256(json.dumps([path, fields], sort_keys=True, default=content).encode()).hexdigest()


Fields = dict[str, Any]
BODY = Depends(read_body)  # what a route takes as its `fields`


def _inlined(schema: Any, named: Mapping[str, Any]) -> Any:
    """Put what a schema names where it names it: in the document, a name would be looked for elsewhere."""
    if isinstance(schema, list):
        return [_inlined(part, named) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(named[schema["$ref"].rpartition("/")[2]], named)
    return {key: _inlined(part, named) for key, part in schema.items()}
