"""The routes of `/v1/webhooks`, and what they say: each reads, calls one function below, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path
from pydantic import BaseModel, Field

from unstrung.api.body import BODY, Fields, takes
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.fetch import check_url
from unstrung.errors import InvalidRequest
from unstrung.jobs.webhooks import EVENTS, Delivery, Webhook, Webhooks

Id = Annotated[str, Path(description="A webhook's id.", pattern="^[A-Za-z0-9_-]{1,200}$")]
Kind = Literal["video.completed", "video.failed"]


class CreateWebhook(BaseModel):
    """What a webhook is asked for with. As JSON, or as form data."""

    url: str = Field(description="where events are sent: http or https, of the public network")
    events: list[Kind] = Field(list(EVENTS), description="which are sent: all, unless some are named")  # type: ignore[arg-type]


class WebhookShown(BaseModel):
    """Where one's events go."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    active: bool = Field(description="false once its receiver has answered 410: nothing more is sent")
    created_at: int


class WebhookWithSecret(WebhookShown):
    """A webhook with what its events are signed with: shown when it is made and when it is changed, and never again."""

    secret: str


class DeliveryShown(BaseModel):
    """How far an event is on its way to a webhook. Times are seconds since 1970."""

    id: str = Field(description="the event's id, which its receiver sees as webhook-id at every attempt")
    type: str
    video_id: str | None
    created_at: int
    attempts: int = Field(description="how often it was sent")
    next_at: int | None = Field(description="when it is sent again; null once it was received or given up")
    delivered_at: int | None
    status: int | None = Field(description="what the receiver answered last; null where it did not")
    error: str | None = Field(description="why the last attempt failed")


class WebhookWithDeliveries(WebhookShown):
    """A webhook and the last events that went to it, the newest first."""

    deliveries: list[DeliveryShown]


class WebhookList(BaseModel):
    """All of one's webhooks."""

    object: Literal["list"] = "list"
    data: list[WebhookShown]
    has_more: Literal[False] = False


class WebhookDeleted(BaseModel):
    """A webhook is gone, with what it was still to hear."""

    id: str
    object: Literal["webhook.deleted"] = "webhook.deleted"
    deleted: Literal[True] = True


class WebhookTested(BaseModel):
    """A test event is on its way; what became of it is seen in the webhook's deliveries."""

    id: str
    object: Literal["event"] = "event"
    type: Literal["webhook.test"] = "webhook.test"


class EventError(BaseModel):
    """Why a video failed, for programs: `canceled` where somebody stopped it."""

    code: str


class EventData(BaseModel):
    """Which video an event is of."""

    id: str
    error: EventError | None = Field(None, description="absent unless it failed")


class Event(BaseModel):
    """What a webhook receives."""

    id: str
    object: Literal["event"]
    created_at: int
    type: Kind
    data: EventData


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes."""
    hooks = Webhooks(desk.store)
    _add_own(app, desk, hooks)
    _add_steering(app, desk, hooks)

    def hear(event: Event) -> None:
        """Be told of the end of a video; signed, see docs/webhooks.md."""

    for kind in EVENTS:
        app.webhooks.add_api_route(kind, hear, methods=["POST"])


def _add_own(app: FastAPI, desk: Desk, hooks: Webhooks) -> None:
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/webhooks", openapi_extra=takes(CreateWebhook))
    def create_webhook(caller: Caller = writes, fields: Fields = BODY) -> WebhookWithSecret:
        """Have the ends of one's videos told to a URL."""
        url, events = _read_create(fields)
        check_url(url, allow_private=desk.rules.private_webhooks)
        hook = hooks.add(url, caller.owner, events)
        return WebhookWithSecret(**_shown(hook), secret=hook.secret)

    @app.get("/v1/webhooks")
    def list_webhooks(caller: Caller = reads) -> WebhookList:
        """List one's webhooks, the oldest first."""
        return WebhookList(data=[WebhookShown(**_shown(hook)) for hook in hooks.list(caller.sees)])

    @app.get("/v1/webhooks/{webhook_id}")
    def retrieve_webhook(webhook_id: Id, caller: Caller = reads) -> WebhookWithDeliveries:
        """See a webhook, and what became of the last events."""
        hook = hooks.get(webhook_id, caller.sees)
        return WebhookWithDeliveries(**_shown(hook), deliveries=[_delivery(sent) for sent in hooks.deliveries(hook.id)])

    @app.delete("/v1/webhooks/{webhook_id}")
    def delete_webhook(webhook_id: Id, caller: Caller = writes) -> WebhookDeleted:
        """Remove a webhook; what was not yet received is not sent any more."""
        hooks.remove(webhook_id, caller.sees)
        return WebhookDeleted(id=webhook_id)


def _add_steering(app: FastAPI, desk: Desk, hooks: Webhooks) -> None:
    writes = desk.asker("write")

    @app.post("/v1/webhooks/{webhook_id}/test")
    def test_webhook(webhook_id: Id, caller: Caller = writes) -> WebhookTested:
        """Send a `webhook.test` event, as any other is sent."""
        return WebhookTested(id=hooks.test(webhook_id, caller.sees))

    @app.post("/v1/webhooks/{webhook_id}/rotate")
    def rotate_webhook(webhook_id: Id, caller: Caller = writes) -> WebhookWithSecret:
        """Sign with a new secret; for a day with the one before it too."""
        hook = hooks.rotate(webhook_id, caller.sees)
        return WebhookWithSecret(**_shown(hook), secret=hook.secret)


def _read_create(fields: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Read what a webhook is asked for with; raise `InvalidRequest`."""
    if unknown := [name for name in fields if name not in CreateWebhook.model_fields]:
        words = f"'{unknown[0]}' is not a field of a webhook; known are: {', '.join(CreateWebhook.model_fields)}."
        raise InvalidRequest(unknown[0], words, code="unknown_parameter")
    url, events = fields.get("url"), fields.get("events", list(EVENTS))
    if not isinstance(url, str):
        raise InvalidRequest("url", "A webhook needs a url: say where events are sent.", code="missing_required_parameter")
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise InvalidRequest("events", f"events is {events!r}; it must be a list of: {', '.join(EVENTS)}.")
    return url, events


def _shown(hook: Webhook) -> dict[str, Any]:
    return {
        "id": hook.id, "url": hook.url, "events": list(hook.events), "active": hook.active, "created_at": int(hook.created_at),
    }  # fmt: skip


def _delivery(sent: Delivery) -> DeliveryShown:
    return DeliveryShown(
        id=sent.event_id, type=sent.kind, video_id=sent.job_id, created_at=int(sent.created_at), attempts=sent.attempts,
        next_at=None if sent.next_at is None else int(sent.next_at), status=sent.status, error=sent.error,
        delivered_at=None if sent.delivered_at is None else int(sent.delivered_at),
    )  # fmt: skip
