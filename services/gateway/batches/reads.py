"""SQL that reads batches for the API. Every statement names the project."""

from typing import Any, Final
from uuid import UUID

from services.gateway.batches.views import BatchView
from shared.database import Connection
from shared.steps import FINAL_STATUSES, RunStatus

BATCHES: Final = """
    SELECT b.id, b.name, b.created_at, b.cancelled_at, b.size, count(q.run_id) AS accepted,
           count(r.deleted_at) AS deleted,
           coalesce(sum(r.input_tokens + r.output_tokens), 0)::bigint AS tokens,
           sum(c.usd) AS usd, coalesce(sum(c.unpriced), 0)::bigint AS unpriced,
           {counts}
    FROM batches AS b LEFT JOIN queued_runs AS q ON q.batch_id = b.id
    LEFT JOIN runs AS r ON r.run_id = q.run_id
    LEFT JOIN LATERAL (
        SELECT sum(amount_usd) AS usd, count(*) FILTER (WHERE amount_usd IS NULL) AS unpriced
        FROM charges WHERE charges.run_id = q.run_id
    ) AS c ON true
    WHERE b.project = $1 AND {wanted} GROUP BY b.id ORDER BY b.id DESC
"""
# A run that has not come to the recorder yet waits, here or in the broker's queue.
COUNT: Final = "count(*) FILTER (WHERE r.deleted_at IS NULL AND r.status = '{0}') AS {0}"
QUEUED: Final = (
    "count(q.run_id) FILTER (WHERE r.deleted_at IS NULL AND coalesce(r.status, 'queued') = 'queued') "
    "AS queued"
)
COUNTS: Final = ", ".join(
    QUEUED if status is RunStatus.QUEUED else COUNT.format(status.value) for status in RunStatus
)
ONE: Final = BATCHES.format(counts=COUNTS, wanted="b.id = $2")
PAGE: Final = BATCHES.format(
    counts=COUNTS,
    wanted="b.id IN (SELECT id FROM batches WHERE project = $1 AND ($2::uuid IS NULL OR id < $2) "
    "ORDER BY id DESC LIMIT $3)",
)
UNFINISHED: Final = """
    SELECT q.run_id FROM queued_runs AS q LEFT JOIN runs AS r ON r.run_id = q.run_id
    WHERE q.project = $1 AND q.batch_id = $2 AND q.released_at IS NOT NULL AND q.priority <> 'cancelled'
    AND r.deleted_at IS NULL AND coalesce(r.status, 'queued') NOT IN ('completed', 'failed', 'cancelled')
    ORDER BY q.place LIMIT $3
"""


async def batch(connection: Connection, project: str, batch_id: UUID) -> BatchView | None:
    row = await connection.fetchrow(ONE, project, batch_id)
    return _view(row) if row is not None else None


async def batches(connection: Connection, project: str, before: UUID | None, limit: int) -> list[BatchView]:
    """Newest first; ids are ordered by time."""
    return [_view(row) for row in await connection.fetch(PAGE, project, before, limit)]


async def unfinished(connection: Connection, project: str, batch_id: UUID, most: int) -> list[str]:
    """The runs of the batch that the broker has and that go on."""
    rows = await connection.fetch(UNFINISHED, project, batch_id, most)
    return [str(row["run_id"]) for row in rows]


def _view(row: Any) -> BatchView:
    runs = {status: row[status.value] for status in RunStatus}
    over = sum(runs[status] for status in FINAL_STATUSES) + row["deleted"]
    return BatchView(
        batch_id=str(row["id"]),
        name=row["name"],
        status="receiving" if row["size"] is None else "finished" if over == row["accepted"] else "running",
        created_at=row["created_at"],
        cancelled_at=row["cancelled_at"],
        size=row["size"],
        accepted=row["accepted"],
        runs=runs,
        deleted=row["deleted"],
        total_tokens=row["tokens"],
        total_cost_usd=row["usd"],
        unpriced=row["unpriced"],
    )
