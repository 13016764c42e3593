"""Webhooks, their deliveries, schedules and their times on the terminal."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from studio.client.automation_models import Delivery, Schedule, Tick, Webhook
from studio.terminal.amounts import UNKNOWN, age, ahead
from studio.terminal.grid import facts, switch, table
from studio.terminal.output import shown_id
from studio.terminal.text import one_line, plain

STYLES: Final = {"pending": "yellow", "delivered": "green", "started": "green", "failed": "red"}


def webhooks_table(webhooks: Sequence[Webhook], now: datetime) -> Table:
    titles = ("webhook", "", "created", "events", "posts to", "description")
    rows = (
        (
            shown_id(hook.id),
            switch(hook.active),
            age(hook.created_at, now),
            ", ".join(hook.events),
            hook.url,
            hook.description,
        )
        for hook in webhooks
    )
    return table(titles, rows, wide=("events", "posts to", "description"))


def deliveries_table(deliveries: Sequence[Delivery], now: datetime) -> Table:
    titles = ("delivery", "event", "run", "happened", "status", "attempts", "last answer")
    rows = (
        (
            shown_id(each.id),
            each.type,
            shown_id(each.run_id) if each.run_id else UNKNOWN,
            age(each.at, now),
            _status(each.status),
            str(each.attempts),
            _answer(each, now),
        )
        for each in deliveries
    )
    return table(titles, rows, wide=("last answer",), right=("attempts",))


def schedules_table(schedules: Sequence[Schedule], now: datetime) -> Table:
    titles = ("schedule", "", "name", "cron", "time zone", "next", "last", "last run")
    rows = (
        (
            shown_id(each.id),
            switch(each.active, "paused"),
            each.name,
            each.cron,
            each.timezone,
            minute(each.next_at),
            age(each.last_at, now),
            shown_id(each.last_run_id) if each.last_run_id else UNKNOWN,
        )
        for each in schedules
    )
    return table(titles, rows, wide=("name",))


def schedule_view(schedule: Schedule, ticks: Iterable[Tick]) -> Group:
    """What it starts and when, and what became of its last times."""
    said = [
        ("schedule", schedule.id),
        ("cron", f"{schedule.cron}  ({schedule.timezone})"),
        ("next", minute(schedule.next_at)),
        ("missed", schedule.missed),
        ("run", json.dumps(schedule.input, ensure_ascii=False)),
    ]
    heading = Text.assemble((plain(schedule.name), "bold"), "  ", switch(schedule.active, "paused"))
    rows = [
        (
            minute(tick.due_at),
            _status(tick.status),
            shown_id(tick.run_id) if tick.run_id else UNKNOWN,
            _error(tick.error),
        )
        for tick in ticks
    ]
    times = table(("was due", "", "run", "error"), rows, wide=("error",))
    return Group(heading, facts(said), Text(), times if rows else Text("it was not due yet", "dim"))


def minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else UNKNOWN


def _status(status: str) -> Text:
    return Text(plain(status), STYLES.get(status, ""))


def _error(text: str | None) -> Text:
    return Text(one_line(text or "", 200), "red")


def _answer(delivery: Delivery, now: datetime) -> str:
    took = f" in {delivery.duration_ms} ms" if delivery.duration_ms is not None else ""
    status = f"HTTP {delivery.response_status}{took}" if delivery.response_status is not None else ""
    following = (
        f"again {ahead(delivery.next_attempt_at, now)}"
        if delivery.next_attempt_at and delivery.attempts
        else ""
    )
    return "; ".join(filter(None, (delivery.error or status, following))) or UNKNOWN
