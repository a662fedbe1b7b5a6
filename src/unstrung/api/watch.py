"""What is seen of every request from outside: how it was answered and how long that took. Never what was asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "/studio"  # the route of all parts of the page
METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")
GONE = 499  # nginx's number: whoever asked had left before the answer, as a page does that is loaded again; nothing broke


@dataclass(frozen=True)
class Seen:
    """A request that was answered. `route` is a template, so that no id, and no name that somebody made up, is in it."""

    id: str
    method: str
    route: str
    status: int
    seconds: float
    bytes: int
    caller: str | None  # the token's name, or "host"; None where nobody was known


class Watch:
    """Tells those who listen of every request, once its answer has been sent."""

    def __init__(self, app: ASGIApp, listeners: Sequence[Callable[[Seen], None]]) -> None:
        self.app, self.listeners = app, listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and tell."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        since, id, status, size = time.perf_counter(), "", 0, 0

        async def counted(message: Message) -> None:
            nonlocal id, status, size
            if message["type"] == "http.response.start":
                id, status = Headers(raw=message["headers"]).get("x-request-id", ""), message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counted)
            status = status or GONE
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "unmatched")
            caller = scope.get("state", {}).get("caller")
            seen = Seen(id, method, route, status or 500, time.perf_counter() - since, size, caller and caller.name)
            for listener in self.listeners:
                listener(seen)


def write_down(seen: Seen) -> None:
    """Write a request into the log; the page's parts, of which it has a hundred, only where all is wanted."""
    fields = asdict(seen)
    fields["ms"] = round(1000 * fields.pop("seconds"), 1)
    level = logging.DEBUG if seen.route == PAGE and seen.status < 500 else logging.INFO
    logging.getLogger("unstrung.api").log(level, "request", extra={"fields": fields})
