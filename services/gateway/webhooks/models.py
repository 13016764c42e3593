"""What clients send and get about webhooks. Not here: what is sent to a webhook (`event.py`)."""

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.requests import Input
from services.gateway.views import View

EventType = Literal["run.finished", "run.failed", "run.cancelled", "run.waiting", "budget.reached"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
DeliveryStatus = Literal["pending", "delivered", "failed"]


def _each_once(events: tuple[EventType, ...]) -> tuple[EventType, ...]:
    if len(set(events)) < len(events):
        raise ValueError("each event may stand here once")
    return events


Events = Annotated[
    tuple[EventType, ...],
    Field(
        min_length=1,
        max_length=len(EVENT_TYPES),
        description="The types of events to be told of.",
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_each_once),
]
Url = Annotated[
    str, Field(min_length=1, max_length=2000, description="Where events are posted: http:// or https://.")
]
Note = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]


class WebhookInput(Input):
    """A webhook to be made."""

    url: Url
    events: Events = EVENT_TYPES
    active: bool = Field(default=True, description="Whether events are told; else none is kept for later.")
    description: Note = ""


class WebhookChange(Input):
    """What is to change; null and what is left out stay as they are."""

    url: Url | None = None
    events: Events | None = None
    active: bool | None = None
    description: Note | None = None


class WebhookView(View):
    """A webhook."""

    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    description: str
    created_at: datetime


class NewWebhook(WebhookView):
    """A webhook that was just made. `secret` is told here and never again."""

    secret: str


class WebhookList(View):
    items: tuple[WebhookView, ...]


class DeliveryView(View):
    """One event on its way to one webhook. `event_id` is its `Webhook-Id`, the same in every attempt."""

    id: str
    webhook_id: str
    event_id: str
    type: str
    run_id: str | None
    at: datetime = Field(description="When the event was.")
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None = Field(description="Null when it is delivered or given up.")
    tried_at: datetime | None
    response_status: int | None = Field(description="Of the last attempt; null when no answer came.")
    duration_ms: int | None
    error: str | None = Field(description="Why the last attempt failed; null when it did not.")
    created_at: datetime


class DeliveryList(View):
    items: tuple[DeliveryView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")
