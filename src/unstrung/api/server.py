"""The Videos API over the store: each route reads, calls one function below, and answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from unstrung import __version__, engine
from unstrung.api.body import read_body
from unstrung.api.errors import DOCUMENTED, install
from unstrung.api.guard import Guard
from unstrung.api.schema import CreateVideo, Video, VideoDeleted, VideoList, read_create, video_of
from unstrung.errors import UnstrungError
from unstrung.job import Job, Status
from unstrung.jobs.queue import Turn
from unstrung.jobs.store import Store

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELED)
FORECAST_SECONDS = 0.5  # how old a forecast may be
POLL_MS = (250, 5000)  # a client keeps the pace that it hears first
LISTEN_SECONDS = 0.2  # between two looks for what is new of a job

Id = Annotated[str, Path(description="A video's id.", max_length=200)]
Variant = Literal["video", "thumbnail", "spritesheet"]
Answers = dict[int | str, dict[str, Any]]
BODY = {
    "required": True,
    "content": {kind: {"schema": CreateVideo.model_json_schema()} for kind in ("application/json", "multipart/form-data")},
}


@dataclass
class Desk:
    """What the routes share: the store, where files are, whom names stand for, and a fresh forecast."""

    store: Store
    folder: FilePath
    aliases: Mapping[str, str]
    _turns: dict[str, Turn] = field(default_factory=dict)
    _since: float = 0.0

    def show(self, job: Job) -> Video:
        """Return a job in the API's words, with its turn."""
        return video_of(job, self.turn(job))

    def turn(self, job: Job) -> Turn | None:
        """Return when a job's turn will come; None where it does not wait."""
        if job.status is not Status.QUEUED:
            return None
        if time.monotonic() - self._since > FORECAST_SECONDS or job.id not in self._turns:
            self._turns, self._since = {turn.id: turn for turn in self.store.turns()}, time.monotonic()
        return self._turns.get(job.id)

    def poll_after(self, job: Job) -> str:
        """Return in how many milliseconds it is worth asking again: a tenth of the time that it will take."""
        turn = self.turn(job)
        left = turn.ends_in if turn else job.estimate
        return str(int(min(max(100 * left, POLL_MS[0]), POLL_MS[1])))

    def file(self, id: str, variant: Variant) -> tuple[FilePath, str]:
        """Return a file of a finished video and its type; raise `UnstrungError` where it is not finished."""
        job, clip = self.store.get(id), self.store.clip(id)
        if clip is None:
            raise UnstrungError("not_ready", "video_id", f"Video {id} has no content: it is {job.status}.")
        if variant == "video":
            return self.folder / "clips" / clip.file, "video/mp4"
        suffix, kind = {"thumbnail": (".webp", "image/webp"), "spritesheet": (".jpg", "image/jpeg")}[variant]
        return self.folder / "previews" / f"{job.id}{suffix}", kind

    def remove(self, id: str) -> None:
        """Forget a video and its files, and stop it where it waits or runs."""
        if self.store.get(id).status not in ENDED:
            self.store.cancel(id)
        clip = self.store.remove(id)
        if clip is not None:
            (self.folder / "clips" / clip.file).unlink(missing_ok=True)
        for suffix in (".webp", ".jpg", ".png"):
            (self.folder / "previews" / f"{id}{suffix}").unlink(missing_ok=True)


def create_app(store: Store, folder: FilePath, aliases: Mapping[str, str] | None = None) -> FastAPI:
    """Return the application over a store and a folder of files; it listens to this machine's own names alone."""
    desk = Desk(store, folder, aliases or {})
    app = FastAPI(title="Unstrung", version=__version__, docs_url=None, redoc_url=None, responses=DOCUMENTED)
    app.add_middleware(Guard, names=LOOPBACK)
    install(app)
    _add_videos(app, desk)
    _add_extras(app, desk)
    return app


def _add_videos(app: FastAPI, desk: Desk) -> None:
    """Add the routes that the Videos API has."""

    @app.post("/v1/videos", openapi_extra={"requestBody": BODY})
    async def create_video(request: Request, response: Response) -> Video:
        """Ask for a video."""
        asked = read_create(await read_body(request), desk.aliases)

        def submit() -> Job:
            return desk.store.submit(asked.request, engine.check(asked.request).target, draft=asked.draft)

        job = await run_in_threadpool(submit)
        response.headers["openai-poll-after-ms"] = desk.poll_after(job)
        return await run_in_threadpool(desk.show, job)

    @app.get("/v1/videos")
    def list_videos(
        after: Annotated[str | None, Query(max_length=200, description="The last video of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> VideoList:
        """List videos, a page at a time."""
        found = desk.store.page(after=after, limit=limit + 1, newest_first=order == "desc")
        page = [desk.show(job) for job in found[:limit]]
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return VideoList(data=page, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])

    @app.get("/v1/videos/{video_id}")
    def retrieve_video(video_id: Id, response: Response) -> Video:
        """See how far a video is."""
        job = desk.store.get(video_id)
        response.headers["openai-poll-after-ms"] = desk.poll_after(job)
        return desk.show(job)

    @app.delete("/v1/videos/{video_id}")
    def delete_video(video_id: Id) -> VideoDeleted:
        """Remove a video and its files; one that waits or runs is stopped first."""
        desk.remove(video_id)
        return VideoDeleted(id=video_id)

    content: Answers = {
        200: {"content": {"video/mp4": {}, "image/webp": {}, "image/jpeg": {}}},
        206: {"description": "Part of it"},
    }

    @app.get(
        "/v1/videos/{video_id}/content", response_class=FileResponse, responses={**content, 416: {"description": "No such part"}}
    )
    def download_content(video_id: Id, variant: Variant = "video") -> FileResponse:
        """Get a finished video's file, or a part of it."""
        path, kind = desk.file(video_id, variant)
        return FileResponse(path, media_type=kind, filename=f"{video_id}{path.suffix}", content_disposition_type="inline")


def _add_extras(app: FastAPI, desk: Desk) -> None:
    """Add the routes that the Videos API never had."""

    @app.post("/v1/videos/{video_id}/cancel")
    def cancel_video(video_id: Id) -> Video:
        """Stop a video that waits or runs; its prompt and its last preview stay."""
        return desk.show(desk.store.cancel(video_id))

    @app.post("/v1/videos/{video_id}/retry")
    def retry_video(video_id: Id) -> Video:
        """Make a video again that failed or was canceled."""
        return desk.show(desk.store.retry(video_id))

    @app.get("/v1/videos/{video_id}/recipe")
    def retrieve_recipe(video_id: Id) -> dict[str, Any]:
        """Get all that is needed to make a finished video again."""
        clip = desk.store.clip(desk.store.get(video_id).id)
        if clip is None:
            raise UnstrungError(
                "not_ready", "video_id", f"Video {video_id} is not finished, and only finished ones have a recipe."
            )
        recipe: dict[str, Any] = json.loads(clip.recipe.to_json())
        return recipe

    stream: Answers = {200: {"content": {"text/event-stream": {}}}}

    @app.get("/v1/videos/{video_id}/events", response_class=StreamingResponse, responses=stream)
    def stream_events(
        video_id: Id, last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1, description="The last one that was heard.")] = 0
    ) -> StreamingResponse:
        """Hear what happens to a video until it ends, from the beginning or from where one was cut off."""
        desk.store.get(video_id)
        return StreamingResponse(_events(desk.store, video_id, last_event_id), media_type="text/event-stream")

    @app.get("/v1/health")
    def health() -> dict[str, Any]:
        """Say that the server and its store answer."""
        return {"status": "paused" if desk.store.paused() else "ok", "version": __version__}


async def _events(store: Store, id: str, after: int) -> AsyncIterator[str]:
    while True:
        for event in await run_in_threadpool(store.events, id, after):
            after = event.number
            yield f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps({'at': event.at, **event.data})}\n\n"
        # what was said last may have been said after the look; who has ended says no more
        job = await run_in_threadpool(store.find, id)
        if job is None or (job.status in ENDED and not await run_in_threadpool(store.events, id, after)):
            return
        await asyncio.sleep(LISTEN_SECONDS)
