"""Files as answers, whole or in parts."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from unstrung.api.errors import envelope
from unstrung.api.schema import ErrorEnvelope

PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "Part of it"},
    416: {"model": ErrorEnvelope, "description": "No such part"},
}


class PartialFile(FileResponse):
    """A file, or the part of it that was asked for; where there is no such part, the envelope says so."""

    chunk_size = 2**18  # each chunk costs a thread's turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refused: tuple[int, str] | None = None

        async def heeded(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message["status"], Headers(raw=message["headers"]).get("content-range", "")
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, heeded)
        if refused is not None:
            status, size = refused
            words = "The header Range asks for more than there is." if status == 416 else "The header Range can't be read."
            answer = envelope(status, words, "invalid_range", "range")
            if size:
                answer.headers["content-range"] = size
            await answer(scope, receive, send)
