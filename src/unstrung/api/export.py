"""The route by which everything leaves: what the caller has, as a tar that is made while it is sent."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.jobs.archive import Export, tar_of

HEADERS = {"content-disposition": 'attachment; filename="unstrung-export.tar"'}
TAR: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-tar": {}}, "description": "A tar, its manifest last"}}


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the route."""
    reads = desk.asker("read")

    @app.get("/v1/export", response_class=StreamingResponse, responses=TAR)
    def export(caller: Caller = reads) -> StreamingResponse:
        """Get everything that one has: films, recipes, previews and prompts. What was cut off on the way has no manifest."""
        pieces = tar_of(Export(desk.store, desk.folder, caller.sees))
        may = takewhile(lambda _: desk.door.holds(caller), pieces)
        return StreamingResponse(may, 200, HEADERS, "application/x-tar")
