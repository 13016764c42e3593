"""What the gateway writes about schedules and ticks; each function is one statement, now is the caller's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.gateway.schedules.cron import Missed
from shared.database import Connection

ADD: Final = """
    INSERT INTO schedules (id, project, name, cron, timezone, input, missed, active, next_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE (SELECT count(*) FROM schedules WHERE project = $2) < $10
    ON CONFLICT (id) DO NOTHING
"""
CHANGE: Final = """
    UPDATE schedules SET name = $3, cron = $4, timezone = $5, input = $6, missed = $7, active = $8,
                         next_at = $9
    WHERE project = $1 AND id = $2
"""
SWITCH: Final = """
    UPDATE schedules SET active = $3, next_at = $4 WHERE project = $1 AND id = $2 AND active <> $3
"""
DELETE: Final = """
    WITH gone AS (DELETE FROM schedules WHERE project = $1 AND id = $2 RETURNING id),
         ticks AS (DELETE FROM schedule_ticks USING gone WHERE schedule_id = gone.id)
    SELECT count(*) FROM gone
"""
# One whose tick has not started yet waits: what it misses meanwhile is for its policy.
LOCK_DUE: Final = """
    SELECT id, project, cron, timezone, input, missed, next_at FROM schedules AS s
    WHERE active AND next_at <= $1 AND NOT EXISTS (
        SELECT FROM schedule_ticks AS t WHERE t.schedule_id = s.id AND t.status = 'pending'
    )
    ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
ADD_TICKS: Final = """
    INSERT INTO schedule_ticks (schedule_id, due_at, project, input, try_at)
    SELECT $1, due_at, $3, $4, $5 FROM unnest($2::timestamptz[]) AS due_at ON CONFLICT DO NOTHING
"""
CLAIM: Final = """
    UPDATE schedule_ticks AS t SET tries = tries + 1, try_at = $1 + $3 FROM (
        SELECT schedule_id, due_at FROM schedule_ticks WHERE status = 'pending' AND try_at <= $1
        ORDER BY try_at, due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) AS due WHERE (t.schedule_id, t.due_at) = (due.schedule_id, due.due_at)
    RETURNING t.schedule_id, t.due_at, t.project, t.input, t.tries
"""
FINISH: Final = """
    UPDATE schedule_ticks SET status = $3, run_id = $4, error = $5, try_at = $6
    WHERE schedule_id = $1 AND due_at = $2
"""
FORGET: Final = """
    DELETE FROM schedule_ticks WHERE (schedule_id, due_at) IN (
        SELECT schedule_id, due_at FROM schedule_ticks WHERE due_at < $1 LIMIT $2
    )
"""


@dataclass(frozen=True)
class DueSchedule:
    id: UUID
    project: str
    cron: str
    timezone: str
    input: str
    missed: Missed
    next_at: datetime


@dataclass(frozen=True)
class Tick:
    """A time that is to have its run; `tries` includes this one."""

    schedule_id: UUID
    due_at: datetime
    project: str
    input: str
    tries: int


@dataclass(frozen=True)
class Verdict:
    """What became of a try to start a tick's run; the next try, if there is one, is at `try_at`."""

    status: str
    try_at: datetime
    run_id: UUID | None = None
    error: str | None = None


async def add(
    connection: Connection, project: str, schedule_id: UUID, values: Sequence[Any], most: int
) -> None:
    """`values`: name, cron, timezone, input, missed, active, next_at. Nothing happens when it is there."""
    await connection.execute(ADD, schedule_id, project, *values, most)


async def change(connection: Connection, project: str, schedule_id: UUID, values: Sequence[Any]) -> None:
    """`values` as `add` takes them."""
    await connection.execute(CHANGE, project, schedule_id, *values)


async def switch(
    connection: Connection, project: str, schedule_id: UUID, active: bool, next_at: datetime
) -> None:
    """Nothing happens when it is so already."""
    await connection.execute(SWITCH, project, schedule_id, active, next_at)


async def delete(connection: Connection, project: str, schedule_id: UUID) -> bool:
    """With its ticks. False when there is none."""
    return bool(await connection.fetchval(DELETE, project, schedule_id))


async def lock_due(connection: Connection, now: datetime, most: int) -> list[DueSchedule]:
    """Those that are due and that no other gateway has in hand, locked until the transaction ends."""
    return [DueSchedule(**row) for row in await connection.fetch(LOCK_DUE, now, most)]


async def add_ticks(
    connection: Connection, schedule: DueSchedule, ticks: Sequence[datetime], now: datetime
) -> None:
    """The ticks, each once, to be started at once."""
    await connection.execute(ADD_TICKS, schedule.id, list(ticks), schedule.project, schedule.input, now)


async def move_on(connection: Connection, schedule_id: UUID, next_at: datetime) -> None:
    await connection.execute("UPDATE schedules SET next_at = $2 WHERE id = $1", schedule_id, next_at)


async def claim(connection: Connection, now: datetime, most: int, lease: timedelta) -> list[Tick]:
    """Those to be started; nobody else gets them before the lease is over."""
    return [Tick(**row) for row in await connection.fetch(CLAIM, now, most, lease)]


async def finish(connection: Connection, tick: Tick, verdict: Verdict) -> None:
    await connection.execute(
        FINISH, tick.schedule_id, tick.due_at, verdict.status, verdict.run_id, verdict.error, verdict.try_at
    )


async def forget(connection: Connection, before: datetime, most: int) -> None:
    """Drop ticks that were due before that."""
    await connection.execute(FORGET, before, most)
