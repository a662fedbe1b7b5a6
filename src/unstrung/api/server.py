"""The application: the routes of each part of the API, and what stands before all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from unstrung import __version__
from unstrung.api import batches, characters, export, feedback, files, letter, metrics, videos, webhooks
from unstrung.api.callers import Door
from unstrung.api.desk import Desk
from unstrung.api.errors import DOCUMENTED, install
from unstrung.api.guard import Guard
from unstrung.api.guests import Guests
from unstrung.api.rules import Rules
from unstrung.api.watch import Watch, write_down
from unstrung.jobs.store import Store
from unstrung.jobs.tokens import Tokens

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(store: Store, folder: Path, rules: Rules, *, workers: Callable[[], int] = lambda: 0) -> FastAPI:
    """Return the application over a store and a folder of files; `app.state.desk` is what its routes share, and
    `app.state.letterbox` where the host's letter is signed, where there is one.

    `workers` says how many processes work for it.

    It answers to this machine's own names alone, and to whoever sits at it, until there are tokens; where the rules say that it
    is guarded, it answers to any name, or to those that the rules list, and never without a token.
    """
    guests = None if rules.guests is None else Guests(store.secret(), rules.guests)
    desk = Desk(store, folder, Door(Tokens(store), guarded=rules.guarded, guests=guests), rules)
    app = FastAPI(title="Unstrung", version=__version__, docs_url=None, redoc_url=None, responses=DOCUMENTED)
    app.state.desk = desk
    figures = metrics.Metrics(store, folder, workers)
    app.add_middleware(Guard, names=None if rules.guarded and not rules.names else (*LOOPBACK, *rules.names))
    app.add_middleware(Watch, listeners=(figures.hear, write_down))  # before the guard: whom that refuses is seen too
    install(app)
    characters.add_routes(app, desk)  # before the videos, whose ids could be called so
    videos.add_routes(app, desk)
    webhooks.add_routes(app, desk)
    files.add_routes(app, desk)
    batches.add_routes(app, desk)
    export.add_routes(app, desk)
    feedback.add_routes(app, desk)
    if (box := letter.open_letterbox(store, rules)) is not None:
        letter.add_routes(app, desk, box)
    app.state.letterbox = box
    metrics.add_routes(app, desk, figures)

    @app.get("/v1/health")
    def health() -> dict[str, Any]:
        """Say that the server and its store answer."""
        return {"status": "paused" if desk.store.paused() else "ok", "version": __version__}

    _tell_no_422(app)
    return app


def _tell_no_422(app: FastAPI) -> None:
    """Leave out of the document what the framework would answer by itself: here what is wrong is a 400, in the envelope."""
    document = app.openapi

    def told() -> dict[str, Any]:
        found = document()
        for route in found["paths"].values():
            for operation in route.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            found["components"]["schemas"].pop(name, None)
        return found

    app.openapi = told  # type: ignore[method-assign]
