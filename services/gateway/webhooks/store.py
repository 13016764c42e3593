"""What the gateway writes about webhooks and deliveries. Each function is one statement."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
# Of each webhook the oldest few, of each host a few of those, of each project a few more, the projects in
# turn: whoever is slow takes no place from the others.
CLAIM: Final = """
    WITH due AS (
        SELECT d.id, w.project, w.host, d.due_at FROM webhooks AS w CROSS JOIN LATERAL (
            SELECT id, due_at FROM webhook_deliveries
            WHERE webhook_id = w.id AND status = 'pending' AND due_at <= now()
            ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS d WHERE w.active
    ), ranked AS (
        SELECT id, project, due_at,
               row_number() OVER (PARTITION BY host ORDER BY due_at) + COALESCE(count, 0) AS place
        FROM due LEFT JOIN unnest($5::text[], $6::bigint[]) AS underway (host, count) USING (host)
    ), fair AS (
        SELECT id, due_at,
               row_number() OVER (PARTITION BY project ORDER BY due_at) + COALESCE(count, 0) AS place
        FROM ranked LEFT JOIN unnest($7::text[], $8::bigint[]) AS underway (project, count) USING (project)
        WHERE place <= $2
    )
    UPDATE webhook_deliveries AS d SET attempts = attempts + 1, due_at = now() + $4 FROM webhooks AS w
    WHERE w.id = d.webhook_id
    AND d.id IN (SELECT id FROM fair WHERE place <= $3 ORDER BY place, due_at LIMIT $1)
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


@dataclass(frozen=True)
class Room:
    """How many attempts may begin: in all, and of one host and of one project with those under way."""

    places: int
    of_a_host: int
    of_a_project: int


async def claim(
    connection: Connection, room: Room, lease: timedelta, underway: Iterable[Claimed]
) -> list[Claimed]:
    """Those that are due, as far as there is room. Nobody else gets them before the lease is over."""
    going = list(underway)
    hosts, projects = Counter(each.host for each in going), Counter(each.event.project for each in going)
    busy = (list(hosts), list(hosts.values()), list(projects), list(projects.values()))
    rows = await connection.fetch(CLAIM, room.places, room.of_a_host, room.of_a_project, lease, *busy)
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
