"""What a program sends: JSON, or form data whose bracketed names are nested."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from unstrung.errors import InvalidRequest

MOST_BYTES = 32 * 2**20  # of a body: a data URL may have 20 million characters


async def read_body(request: Request) -> dict[str, Any]:
    """Return a request's fields; raise `InvalidRequest` for what can't be read, and 413 or 415 for what won't be."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        await _limited(request)
        try:
            form = await request.form(max_files=8, max_fields=200)
        except (MultiPartException, HTTPException) as error:
            raise InvalidRequest("body", f"The form can't be read: {getattr(error, 'detail', error)}") from None
        return unfold(list(form.multi_items()))
    if kind not in ("application/json", ""):
        raise HTTPException(415, f"The body is {kind}; send application/json or multipart/form-data.")
    try:
        fields = json.loads(await _limited(request) or b"{}")
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body", "The body must be a JSON object.")
    return fields


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
