"""What the gateway writes about webhooks and deliveries. Each function is one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.gateway.webhooks import reads
from services.gateway.webhooks.event import Event
from services.gateway.webhooks.models import DeliveryView
from services.gateway.webhooks.sender import Attempt
from shared.database import Connection

ADD: Final = """
    INSERT INTO webhooks (id, project, url, host, events, active, description)
    SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM webhooks WHERE project = $2) < $8
    ON CONFLICT (id) DO NOTHING
"""
CHANGE: Final = """
    UPDATE webhooks SET url = COALESCE($3, url), host = COALESCE($4, host), events = COALESCE($5, events),
                        active = COALESCE($6, active), description = COALESCE($7, description)
    WHERE project = $1 AND id = $2
"""
DELETE: Final = """
    WITH gone AS (DELETE FROM webhooks WHERE project = $1 AND id = $2 RETURNING id),
         told AS (DELETE FROM webhook_deliveries USING gone WHERE webhook_id = gone.id)
    SELECT count(*) FROM gone
"""
ADD_TEST: Final = f"""
    INSERT INTO webhook_deliveries (id, webhook_id, project, event_id, type, at)
    SELECT $1, id, project, $3, $4, now() FROM webhooks WHERE project = $2 AND id = $5
    ON CONFLICT DO NOTHING RETURNING {reads.COLUMNS}
"""  # noqa: S608 - constants
SEND_AGAIN: Final = f"""
    UPDATE webhook_deliveries SET status = 'pending', attempts = 0, due_at = now()
    WHERE project = $1 AND webhook_id = $2 AND id = $3 RETURNING {reads.COLUMNS}
"""  # noqa: S608 - constants
# Of each webhook the oldest few, of each host a few of those: a slow one takes no place from the others.
CLAIM: Final = """
    WITH due AS (
        SELECT d.id, w.host, d.due_at FROM webhooks AS w CROSS JOIN LATERAL (
            SELECT id, due_at FROM webhook_deliveries
            WHERE webhook_id = w.id AND status = 'pending' AND due_at <= now()
            ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS d WHERE w.active
    ), ranked AS (
        SELECT id, due_at, row_number() OVER (PARTITION BY host ORDER BY due_at) + COALESCE(count, 0) AS rank
        FROM due LEFT JOIN unnest($4::text[], $5::bigint[]) AS underway (host, count) USING (host)
    )
    UPDATE webhook_deliveries AS d SET attempts = attempts + 1, due_at = now() + $3 FROM webhooks AS w
    WHERE w.id = d.webhook_id
    AND d.id IN (SELECT id FROM ranked WHERE rank <= $2 ORDER BY due_at LIMIT $1)
    RETURNING d.id, d.webhook_id, d.event_id, d.type, d.project, d.at, d.run_id, d.attempts, d.due_at,
              w.url, w.host
"""
FINISH: Final = """
    UPDATE webhook_deliveries SET status = $2, tried_at = now(), due_at = now() + $3, response_status = $4,
                                  duration_ms = $5, error = $6
    WHERE id = $1 AND due_at = $7
"""
FORGET: Final = """
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE created_at < now() - $1::interval LIMIT $2
    )
"""


@dataclass(frozen=True)
class Claimed:
    """A delivery to be tried; `attempts` includes this one, `until` is when the lease is over."""

    id: UUID
    webhook_id: str
    event: Event
    attempts: int
    until: datetime
    url: str
    host: str


async def add(connection: Connection, project: str, values: Sequence[Any], most: int) -> bool:
    """`values`: id, url, host, events, active, description. False when it is there, or there are too many."""
    webhook_id, *rest = values
    added = await connection.execute(ADD, webhook_id, project, *rest, most)
    return added != "INSERT 0 0"


async def change(connection: Connection, project: str, webhook_id: UUID, values: Sequence[Any]) -> bool:
    """`values`: url, host, events, active, description, each None to stay. False when there is none."""
    return await connection.execute(CHANGE, project, webhook_id, *values) != "UPDATE 0"


async def delete(connection: Connection, project: str, webhook_id: UUID) -> bool:
    """With its deliveries. False when there is none."""
    return bool(await connection.fetchval(DELETE, project, webhook_id))


async def add_test(
    connection: Connection, project: str, webhook_id: UUID, delivery_id: UUID, event: Event
) -> DeliveryView | None:
    """None when it is there already."""
    row = await connection.fetchrow(ADD_TEST, delivery_id, project, event.id, event.type, webhook_id)
    return reads.delivery_of(row) if row else None


async def send_again(
    connection: Connection, project: str, webhook_id: UUID, delivery_id: UUID
) -> DeliveryView | None:
    """None when there is no such delivery."""
    row = await connection.fetchrow(SEND_AGAIN, project, webhook_id, delivery_id)
    return reads.delivery_of(row) if row else None


async def claim(
    connection: Connection, most: int, most_of_one: int, lease: timedelta, underway: Mapping[str, int]
) -> list[Claimed]:
    """Those that are due, at most so many of one host, those `underway` included.

    Nobody else gets them before the lease is over.
    """
    hosts, counts = list(underway), list(underway.values())
    rows = await connection.fetch(CLAIM, most, most_of_one, lease, hosts, counts)
    return [_claimed(row) for row in rows]


async def finish(
    connection: Connection, delivery: Claimed, status: str, pause: timedelta, attempt: Attempt
) -> None:
    """Note how the attempt ended, unless another has been asked for; a next one is due after the pause."""
    outcome = (attempt.status, attempt.duration_ms, attempt.error)
    await connection.execute(FINISH, delivery.id, status, pause, *outcome, delivery.until)


async def forget(connection: Connection, age: timedelta, most: int) -> None:
    """Drop deliveries older than that, whatever became of them."""
    await connection.execute(FORGET, age, most)


def _claimed(row: Any) -> Claimed:
    run_id = str(row["run_id"]) if row["run_id"] else None
    event = Event(row["event_id"], row["type"], row["project"], row["at"], run_id)
    names = ("attempts", "due_at", "url", "host")
    return Claimed(row["id"], str(row["webhook_id"]), event, *(row[name] for name in names))
