"""The routes of `/v1/feedback`: what people report of videos, and what became of it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, Field

from unstrung.api.body import BODY, Fields, takes
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.errors import InvalidRequest
from unstrung.jobs import feedback
from unstrung.jobs.feedback import LONGEST_LINE, LONGEST_TEXT, Feedback, FeedbackState

Id = Annotated[str, Path(description="A report's id.", max_length=200)]
VideoId = Annotated[str, Path(description="A video's id.", max_length=200)]


class CreateFeedback(BaseModel):
    """A report of a finished video."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="what was seen")
    credit: str | None = Field(None, max_length=LONGEST_LINE, description="how the reporter wants to be named, if at all")


class FeedbackShown(BaseModel):
    """A report as it stands: it is its reporter's work, and `amount` is what the host has agreed to pay for it."""

    id: str
    object: Literal["feedback"] = "feedback"
    video_id: str
    text: str
    credit: str | None
    created_at: int
    updated_at: int
    state: Literal["received", "accepted", "declined", "paid"]
    amount: str = Field(description="as 25.00")
    currency: str | None
    note: str | None = Field(description="the host's words")
    recipe: dict[str, Any] = Field(description="the video's, as it was when it was reported")


class FeedbackList(BaseModel):
    """A page of reports, the newest first; the next one is `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[FeedbackShown]
    has_more: bool
    first_id: str | None
    last_id: str | None


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes."""
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/videos/{video_id}/feedback", openapi_extra=takes(CreateFeedback))
    def create_feedback(video_id: VideoId, caller: Caller = writes, fields: Fields = BODY) -> FeedbackShown:
        """Report something of a finished video; the report is attached to its recipe."""
        words, credit = _read_create(fields)
        return _shown(feedback.report(desk.store, video_id, words, owner=caller.owner, sees=caller.sees, credit=credit))

    @app.get("/v1/feedback")
    def list_feedback(
        after: Annotated[str | None, Query(max_length=200, description="The last report of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        state: FeedbackState | None = None,
        caller: Caller = reads,
    ) -> FeedbackList:
        """List one's reports and what became of them, a page at a time."""
        found = feedback.page(desk.store, owner=caller.sees, state=state, after=after, limit=limit + 1)
        page = [_shown(report) for report in found[:limit]]
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return FeedbackList(data=page, has_more=len(found) > limit, first_id=ends[0], last_id=ends[1])

    @app.get("/v1/feedback/{feedback_id}")
    def retrieve_feedback(feedback_id: Id, caller: Caller = reads) -> FeedbackShown:
        """See a report, and what became of it."""
        return _shown(feedback.get(desk.store, feedback_id, caller.sees))


def _read_create(fields: dict[str, Any]) -> tuple[str, str | None]:
    for name, value in fields.items():
        if name not in CreateFeedback.model_fields:
            words = f"'{name}' is not a field of a report; known are: {', '.join(CreateFeedback.model_fields)}."
            raise InvalidRequest(name, words, code="unknown_parameter")
        if not (isinstance(value, str) or (name == "credit" and value is None)):
            raise InvalidRequest(name, f"{name} is {value!r}; it must be text.")
    if "text" not in fields:
        raise InvalidRequest("text", "text is missing: say what you saw.", code="missing_required_parameter")
    return fields["text"], fields.get("credit")


def _shown(report: Feedback) -> FeedbackShown:
    said = report.to_dict()
    del said["owner"]
    whole = {name: int(said[name]) for name in ("created_at", "updated_at")}
    return FeedbackShown(**{**said, **whole}, recipe=json.loads(report.recipe))
