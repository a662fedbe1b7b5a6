"""What stands before every answer: who may ask from where, the request's id, and the headers that browsers heed."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unstrung.api.errors import envelope, unforeseen
from unstrung.errors import places

HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'", "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}  # fmt: skip


class Guard:
    """Let in only those who call this host by its name and come from no other page.

    A page elsewhere can make a browser send forms to this machine, and a name elsewhere can be pointed at it (DNS rebinding).
    Where `names` is None, any name will do: who asks is known there by a token or a pass, which programs send in a header and
    browsers as a cookie of this host's own name, never of another that points here.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on, and put the headers onto whatever is answered."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        id, begun = f"req_{secrets.token_hex(16)}", False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            refused = self._refuse(headers.get("host", ""), headers.get("origin"))
            await (refused or self.app)(scope, receive, with_headers)
        except Exception as error:
            logging.getLogger("unstrung.api").error("broke", extra={"fields": {"id": id, "error": places(error)}})
            if begun:
                raise  # all that is left is to hang up
            await unforeseen(error)(scope, receive, with_headers)

    def _refuse(self, host: str, origin: str | None) -> ASGIApp | None:
        if self.names is not None and _split(f"//{host}").hostname not in self.names:
            return envelope(421, f"This server does not go by the name of '{host}'.", "wrong_host")
        if origin is not None and _split(origin).netloc != host:
            return envelope(403, f"Pages of '{origin}' may not ask this server.", "wrong_origin")
        return None


def _split(address: str) -> SplitResult:
    """Take an address apart; one that is none, as 'http://[' is, has no host and no name."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
