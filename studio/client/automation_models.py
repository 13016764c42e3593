"""What the server answers about webhooks and schedules."""

from datetime import datetime

from pydantic import Field, JsonValue

from studio.client.models import Answer


class Webhook(Answer):
    """Whom to tell of which events; none is kept for one that is not `active`."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    active: bool = True
    description: str = ""
    created_at: datetime


class NewWebhook(Webhook):
    """A webhook that was just made; its `secret` is never told again."""

    secret: str = Field(repr=False)


class Delivery(Answer):
    """One event on its way to one webhook. `status` is pending, delivered or failed, which is for good.

    `event_id` is its `Webhook-Id`, the same in every attempt; the last of them was `tried_at`.
    """

    id: str
    webhook_id: str
    event_id: str
    type: str
    run_id: str | None = None
    at: datetime
    status: str
    attempts: int = 0
    next_attempt_at: datetime | None = None
    tried_at: datetime | None = None
    response_status: int | None = None
    duration_ms: int | None = None
    error: str | None = None


class Schedule(Answer):
    """A run by the clock. `next_at` is None while it is paused, `last_run_id` until that run has started."""

    id: str
    name: str
    cron: str
    timezone: str = "UTC"
    input: dict[str, JsonValue] = Field(default_factory=dict)
    missed: str = "latest"
    active: bool = True
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_run_id: str | None = None
    created_at: datetime

    @property
    def definition(self) -> dict[str, JsonValue]:
        """What `create_schedule` and `update_schedule` take."""
        return self.model_dump(mode="json", include={"name", "cron", "timezone", "input", "missed"})


class Tick(Answer):
    """A time at which a schedule was due; `status` is pending, started or failed."""

    due_at: datetime
    status: str
    run_id: str | None = None
    tries: int = 0
    error: str | None = None
