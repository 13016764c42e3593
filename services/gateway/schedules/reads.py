"""The SQL that reads schedules and ticks for the API. Every statement names the project."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from services.gateway.schedules.models import ScheduleView, TickView
from shared.database import Connection

SCHEDULES: Final = """
    SELECT s.id, s.name, s.cron, s.timezone, s.input, s.missed, s.active, s.next_at, s.created_at,
           t.due_at AS last_at, t.run_id AS last_run_id
    FROM schedules AS s LEFT JOIN LATERAL (
        SELECT due_at, run_id FROM schedule_ticks WHERE schedule_id = s.id ORDER BY due_at DESC LIMIT 1
    ) AS t ON true WHERE s.project = $1
"""
TICKS: Final = """
    SELECT due_at, status, run_id, tries, error FROM schedule_ticks
    WHERE project = $1 AND schedule_id = $2 AND ($3::timestamptz IS NULL OR due_at < $3)
    ORDER BY due_at DESC LIMIT $4
"""


async def schedules(connection: Connection, project: str) -> list[ScheduleView]:
    """Newest first; there are few."""
    return [_schedule(row) for row in await connection.fetch(f"{SCHEDULES} ORDER BY s.id DESC", project)]


async def schedule(connection: Connection, project: str, schedule_id: UUID) -> ScheduleView | None:
    row = await connection.fetchrow(f"{SCHEDULES} AND s.id = $2", project, schedule_id)
    return _schedule(row) if row else None


async def ticks(
    connection: Connection, project: str, schedule_id: UUID, before: datetime | None, limit: int
) -> list[TickView]:
    """Newest first."""
    rows = await connection.fetch(TICKS, project, schedule_id, before, limit)
    return [TickView(**{**dict(row), "run_id": _text(row["run_id"])}) for row in rows]


def _schedule(row: Any) -> ScheduleView:
    values = dict(row)
    values["id"] = str(values["id"])
    values["last_run_id"] = _text(values["last_run_id"])
    values["input"] = from_json(values["input"])
    if not values["active"]:
        values["next_at"] = None
    return ScheduleView(**values)


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
