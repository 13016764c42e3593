"""What clients get about schedules; what they send is in `requests.py`."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from services.gateway.views import View


class ScheduleView(View):
    """A schedule."""

    id: str
    name: str
    cron: str
    timezone: str
    input: dict[str, JsonValue] = Field(description="The run that is started, as POST /api/runs takes it.")
    missed: str
    active: bool
    next_at: datetime | None = Field(description="When it is due next; null while it is paused.")
    last_at: datetime | None = Field(description="When it was due last.")
    last_run_id: str | None = Field(description="The run of that time; null when it did not start (yet).")
    created_at: datetime


class ScheduleList(View):
    items: tuple[ScheduleView, ...]


class TickView(View):
    """A time at which a schedule was due, and what became of it."""

    due_at: datetime
    status: Literal["pending", "started", "failed"]
    run_id: str | None
    tries: int
    error: str | None = Field(description="Why the run did not start.")


class TickList(View):
    items: tuple[TickView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")
