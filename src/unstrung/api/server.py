"""The application: the routes of each part of the API, and what stands before all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from unstrung import __version__
from unstrung.api import videos
from unstrung.api.callers import Door
from unstrung.api.desk import Desk
from unstrung.api.errors import DOCUMENTED, install
from unstrung.api.guard import Guard
from unstrung.jobs.store import Store
from unstrung.jobs.tokens import Tokens

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(store: Store, folder: Path, aliases: Mapping[str, str] | None = None, *, guarded: bool = False) -> FastAPI:
    """Return the application over a store and a folder of files.

    It answers to this machine's own names alone, and to whoever sits at it, until there are tokens; where it is `guarded`,
    because others can reach it, it answers to any name, and never without a token.
    """
    desk = Desk(store, folder, Door(Tokens(store), guarded=guarded), aliases or {})
    app = FastAPI(title="Unstrung", version=__version__, docs_url=None, redoc_url=None, responses=DOCUMENTED)
    app.add_middleware(Guard, names=None if guarded else LOOPBACK)
    install(app)
    videos.add_routes(app, desk)

    @app.get("/v1/health")
    def health() -> dict[str, Any]:
        """Say that the server and its store answer."""
        return {"status": "paused" if desk.store.paused() else "ok", "version": __version__}

    return app
