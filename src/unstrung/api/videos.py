"""The routes of `/v1/videos`: each reads, calls one function below, and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Depends, FastAPI, Header, Path, Query, Response
from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse

from unstrung.api.body import BODY, Fields, digest, takes
from unstrung.api.callers import Caller
from unstrung.api.content import PARTS, PartialFile
from unstrung.api.desk import Desk, Once, Variant
from unstrung.api.given import EDITED, EXTENDED, Intake, edited, extended, read_source, read_video, video_source
from unstrung.api.schema import (
    Asked,
    CreateVideo,
    EditVideo,
    ExtendVideo,
    RemixVideo,
    Video,
    VideoDeleted,
    VideoList,
    read_change,
    read_seconds,
)
from unstrung.errors import UnstrungError

Id = Annotated[str, Path(description="A video's id.", max_length=200)]
Answers = dict[int | str, dict[str, Any]]
Key = Annotated[
    str | None,
    Header(alias="idempotency-key", max_length=255, description="One's own name for this; sent again, it makes nothing new."),
]


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that the Videos API has, and those that it never had."""
    _add_makers(app, desk)
    _add_videos(app, desk)
    _add_extras(app, desk)


def _add_makers(app: FastAPI, desk: Desk) -> None:
    """Add the routes that ask for videos."""
    writes = desk.asker("write")  # before the body in each signature: who may not ask is not read

    def once(request: HttpRequest, fields: Fields = BODY, key: Key = None) -> Once:
        return Once(key, digest(request.url.path, fields) if key else "")

    named = Depends(once)

    def submit(read: Callable[[Intake], Asked], response: Response, caller: Caller, once: Once) -> Video:
        jobs = desk.made(caller, once)
        if not jobs:
            with Intake(desk, caller) as sent:
                jobs = desk.submit_once(read(sent), caller, once, sent.keep)
        response.headers["openai-poll-after-ms"] = desk.poll_after(jobs[0])
        video = desk.show(jobs[0])
        if len(jobs) > 1:
            video.unstrung.variants = [job.id for job in jobs]
        return video

    @app.post("/v1/videos", openapi_extra=takes(CreateVideo, file="input_reference"))
    def create_video(response: Response, caller: Caller = writes, fields: Fields = BODY, once: Once = named) -> Video:
        """Ask for a video, or with `n` for several, of which the first is told."""
        return submit(lambda sent: read_video(desk, fields, caller, sent), response, caller, once)

    @app.post("/v1/videos/edits", openapi_extra=takes(EditVideo, file="video"))
    def edit_video(response: Response, caller: Caller = writes, fields: Fields = BODY, once: Once = named) -> Video:
        """Have a video, sent or made here, as other words say it."""

        def read(sent: Intake) -> Asked:
            source = read_source(desk, fields, caller, sent, EDITED)
            return read_change(fields, edited(source), source.video_id)

        return submit(read, response, caller, once)

    @app.post("/v1/videos/extensions", openapi_extra=takes(ExtendVideo, file="video"))
    def extend_video(response: Response, caller: Caller = writes, fields: Fields = BODY, once: Once = named) -> Video:
        """Have a video, sent or made here, go on for some seconds more."""

        def read(sent: Intake) -> Asked:
            seconds = read_seconds(fields.pop("seconds", None))
            source = read_source(desk, fields, caller, sent, EXTENDED)
            return read_change(fields, extended(source, seconds), source.video_id)

        return submit(read, response, caller, once)

    @app.post("/v1/videos/{video_id}/remix", openapi_extra=takes(RemixVideo))
    def remix_video(
        video_id: Id, response: Response, caller: Caller = writes, fields: Fields = BODY, once: Once = named
    ) -> Video:
        """Have a finished video as other words say it."""
        source = video_source(desk, video_id, caller, fields.pop("model", None))
        return submit(lambda _: read_change(fields, edited(source), video_id), response, caller, once)


def _add_videos(app: FastAPI, desk: Desk) -> None:
    """Add the routes that show, give and remove videos."""
    reads, writes = desk.asker("read"), desk.asker("write")

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

    kinds: dict[str, Any] = {"video/mp4": {}, "image/webp": {}, "image/jpeg": {}, "image/png": {}}
    content: Answers = {200: {"content": kinds}, **PARTS}

    @app.get("/v1/videos/{video_id}/content", response_class=PartialFile, responses=content)
    def download_content(video_id: Id, variant: Variant = "video", caller: Caller = reads) -> Response:
        """Get a finished video's file, or a part of it."""
        path, kind, name = desk.file(video_id, variant, caller)
        if variant != "video":  # at once: pictures are small, and a worker puts a new preview in the place of one that is sent
            named = f"inline; filename*=utf-8''{quote(name)}"
            return Response(path.read_bytes(), media_type=kind, headers={"content-disposition": named})
        return PartialFile(path, media_type=kind, filename=name, content_disposition_type="inline")


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
        pictures: Annotated[bool, Query(description="With a preview, its picture too, as a data: address.")] = False,
        caller: Caller = reads,
    ) -> StreamingResponse:
        """Hear what happens to a video until it ends, from the beginning or from where one was cut off."""
        desk.store.get(video_id, caller.sees, or_public=True)
        told = desk.bus.stream(video_id, last_event_id, lambda: desk.door.holds(caller), pictures)
        return StreamingResponse(told, media_type="text/event-stream")
