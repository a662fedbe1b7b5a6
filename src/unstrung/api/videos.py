"""The routes of `/v1/videos`: each reads, calls one function below, and answers."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from unstrung.api.body import read_body
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk, Variant
from unstrung.api.schema import CreateVideo, Video, VideoDeleted, VideoList, read_create
from unstrung.errors import UnstrungError

Id = Annotated[str, Path(description="A video's id.", max_length=200)]
Answers = dict[int | str, dict[str, Any]]
BODY = {
    "required": True,
    "content": {kind: {"schema": CreateVideo.model_json_schema()} for kind in ("application/json", "multipart/form-data")},
}


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that the Videos API has, and those that it never had."""
    _add_videos(app, desk)
    _add_extras(app, desk)


def _add_videos(app: FastAPI, desk: Desk) -> None:
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/videos", openapi_extra={"requestBody": BODY})
    async def create_video(request: Request, response: Response, caller: Caller = writes) -> Video:
        """Ask for a video."""
        asked = read_create(await read_body(request), desk.aliases)

        def submit() -> tuple[Video, str]:
            job = desk.submit(asked, caller)
            return desk.show(job), desk.poll_after(job)

        video, response.headers["openai-poll-after-ms"] = await run_in_threadpool(submit)
        return video

    @app.get("/v1/videos")
    def list_videos(
        after: Annotated[str | None, Query(max_length=200, description="The last video of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        public: Annotated[bool, Query(description="Those that anybody has published, instead of one's own.")] = False,
        caller: Caller = reads,
    ) -> VideoList:
        """List one's videos, a page at a time."""
        owner = None if public else caller.sees
        found = desk.store.page(owner=owner, public=public, after=after, limit=limit + 1, newest_first=order == "desc")
        page = [desk.show(job) for job in found[:limit]]
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return VideoList(data=page, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])

    @app.get("/v1/videos/{video_id}")
    def retrieve_video(video_id: Id, response: Response, caller: Caller = reads) -> Video:
        """See how far a video is."""
        job = desk.store.get(video_id, caller.sees, or_public=True)
        response.headers["openai-poll-after-ms"] = desk.poll_after(job)
        return desk.show(job)

    @app.delete("/v1/videos/{video_id}")
    def delete_video(video_id: Id, caller: Caller = writes) -> VideoDeleted:
        """Remove a video and its files; one that waits or runs is stopped first."""
        desk.remove(video_id, caller)
        return VideoDeleted(id=video_id)

    content: Answers = {
        200: {"content": {"video/mp4": {}, "image/webp": {}, "image/jpeg": {}}},
        206: {"description": "Part of it"},
    }

    @app.get(
        "/v1/videos/{video_id}/content", response_class=FileResponse, responses={**content, 416: {"description": "No such part"}}
    )
    def download_content(video_id: Id, variant: Variant = "video", caller: Caller = reads) -> FileResponse:
        """Get a finished video's file, or a part of it."""
        path, kind = desk.file(video_id, variant, caller)
        return FileResponse(path, media_type=kind, filename=f"{video_id}{path.suffix}", content_disposition_type="inline")


def _add_extras(app: FastAPI, desk: Desk) -> None:
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/videos/{video_id}/cancel")
    def cancel_video(video_id: Id, caller: Caller = writes) -> Video:
        """Stop a video that waits or runs; its prompt and its last preview stay."""
        return desk.show(desk.store.cancel(video_id, caller.sees))

    @app.post("/v1/videos/{video_id}/retry")
    def retry_video(video_id: Id, caller: Caller = writes) -> Video:
        """Make a video again that failed or was canceled."""
        return desk.show(desk.store.retry(video_id, caller.sees, caller.allowance))

    @app.post("/v1/videos/{video_id}/publish")
    def publish_video(video_id: Id, caller: Caller = writes) -> Video:
        """Let everybody who may ask here see a video."""
        return desk.show(desk.store.publish(video_id, True, caller.sees))

    @app.post("/v1/videos/{video_id}/unpublish")
    def unpublish_video(video_id: Id, caller: Caller = writes) -> Video:
        """Keep a video for oneself again."""
        return desk.show(desk.store.publish(video_id, False, caller.sees))

    @app.get("/v1/videos/{video_id}/recipe")
    def retrieve_recipe(video_id: Id, caller: Caller = reads) -> dict[str, Any]:
        """Get all that is needed to make a finished video again."""
        clip = desk.store.clip(desk.store.get(video_id, caller.sees, or_public=True).id)
        if clip is None:
            raise UnstrungError(
                "not_ready", "video_id", f"Video {video_id} is not finished, and only finished ones have a recipe."
            )
        recipe: dict[str, Any] = json.loads(clip.recipe.to_json())
        return recipe

    stream: Answers = {200: {"content": {"text/event-stream": {}}}}

    @app.get("/v1/videos/{video_id}/events", response_class=StreamingResponse, responses=stream)
    def stream_events(
        video_id: Id,
        last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1, description="The last one that was heard.")] = 0,
        caller: Caller = reads,
    ) -> StreamingResponse:
        """Hear what happens to a video until it ends, from the beginning or from where one was cut off."""
        desk.store.get(video_id, caller.sees, or_public=True)
        return StreamingResponse(desk.bus.stream(video_id, last_event_id), media_type="text/event-stream")
