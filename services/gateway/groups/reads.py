"""The SQL that finds groups. Every statement names the project, and leaves deleted runs out.

A page costs one look into an index for each label of the project, and the runs of the page's own groups.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from services.gateway.groups.views import GroupView
from shared.database import Connection
from shared.steps import FINAL_STATUSES, RunStatus, Usage

IS_THERE: Final = "deleted_at IS NULL AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = r.run_id)"
# Postgres reads all rows for a DISTINCT; this jumps from label to label.
LABELS: Final = """
    WITH RECURSIVE labels AS (
        (SELECT group_name FROM runs WHERE project = $1 AND group_name IS NOT NULL
         ORDER BY group_name LIMIT 1)
        UNION ALL
        SELECT (SELECT group_name FROM runs WHERE project = $1 AND group_name > labels.group_name
                ORDER BY group_name LIMIT 1)
        FROM labels WHERE labels.group_name IS NOT NULL
    )
"""
PAGE: Final = f"""
    {LABELS}
    SELECT labels.group_name, newest.run_id
    FROM labels CROSS JOIN LATERAL (
        SELECT r.run_id FROM runs AS r
        WHERE r.project = $1 AND r.group_name = labels.group_name AND {IS_THERE}
        ORDER BY r.run_id DESC LIMIT 1
    ) AS newest
    WHERE $2::uuid IS NULL OR newest.run_id < $2 ORDER BY newest.run_id DESC LIMIT $3
"""  # noqa: S608 - constants
# Of the runs that wait for their turn; only those that have a label are read.
HELD: Final = """
    FROM (
        SELECT run_id, priority, created_at, CASE WHEN position('"group":"'::bytea IN job) > 0
               THEN convert_from(job, 'UTF8')::jsonb -> 0 ->> 'group' END AS group_name
        FROM queued_runs WHERE project = $1 AND released_at IS NULL
    ) AS held
"""
# Before step 0 has come, a run's row has no group: a run that is counted here has its times.
TOTALS: Final = f"""
    SELECT r.group_name, r.status, count(*) AS runs, min(r.created_at) AS first_at,
           max(r.created_at) AS last_at, sum(r.input_tokens) AS input,
           sum(r.cached_input_tokens) AS cached_input, sum(r.output_tokens) AS output,
           sum(r.reasoning_tokens) AS reasoning, sum(c.usd) AS usd, coalesce(sum(c.unpriced), 0) AS unpriced
    FROM runs AS r CROSS JOIN LATERAL (
        SELECT sum(amount_usd) AS usd, count(*) FILTER (WHERE amount_usd IS NULL) AS unpriced
        FROM charges WHERE charges.run_id = r.run_id
    ) AS c
    WHERE r.project = $1 AND r.group_name = ANY($2::text[]) AND {IS_THERE}
    GROUP BY r.group_name, r.status
    UNION ALL
    SELECT group_name, '{RunStatus.QUEUED}', count(*), min(created_at), max(created_at), 0, 0, 0, 0, NULL, 0
    {HELD} WHERE group_name = ANY($2::text[]) GROUP BY group_name
"""  # noqa: S608 - constants
FINAL: Final = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
UNASKED: Final = f"""
    FROM (SELECT run_id FROM runs AS r
    WHERE r.project = $1 AND r.group_name = $2 AND r.status NOT IN ({FINAL}) AND {IS_THERE}
    AND NOT EXISTS (
        SELECT FROM steps AS s WHERE s.run_id = r.run_id AND s.kind = 'cancel-requested' AND NOT EXISTS (
            SELECT FROM steps AS t WHERE t.run_id = r.run_id AND t.kind = 'run-retried' AND t.seq > s.seq
        )
    )
    UNION SELECT run_id {HELD} WHERE group_name = $2 AND priority <> 'cancelled') AS r
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class Unasked:
    """Unfinished runs of a group that nobody has asked to stop: the first few of them, and how many."""

    run_ids: tuple[str, ...]
    count: int


async def page(
    connection: Connection, project: str, before: UUID | None, limit: int
) -> list[tuple[str, str]]:
    """The labels and the id of their newest run; the label used last comes first."""
    rows = await connection.fetch(PAGE, project, before, limit)
    return [(row["group_name"], str(row["run_id"])) for row in rows]


async def totals(connection: Connection, project: str, groups: list[str]) -> dict[str, GroupView]:
    """What there is of these groups."""
    rows: dict[str, list[Any]] = {}
    for row in await connection.fetch(TOTALS, project, groups):
        rows.setdefault(row["group_name"], []).append(row)
    return {group: _view(group, of_group) for group, of_group in rows.items()}


async def unasked(connection: Connection, project: str, group: str, most: int) -> Unasked:
    count = await connection.fetchval(f"SELECT count(*) {UNASKED}", project, group)
    rows = await connection.fetch(
        f"SELECT r.run_id {UNASKED} ORDER BY r.run_id LIMIT $3", project, group, most
    )
    return Unasked(tuple(str(row["run_id"]) for row in rows), count)


def _view(group: str, rows: list[Any]) -> GroupView:
    """Of a row for each status, two of those that are queued: some wait outside the broker."""
    by_status = Counter[RunStatus]()
    for row in rows:
        by_status[RunStatus(row["status"])] += row["runs"]
    usage = Usage(
        input=sum(row["input"] for row in rows),
        cached_input=sum(row["cached_input"] for row in rows),
        output=sum(row["output"] for row in rows),
        reasoning=sum(row["reasoning"] for row in rows),
    )
    amounts = [row["usd"] for row in rows if row["usd"] is not None]
    return GroupView(
        group=group,
        runs=by_status.total(),
        by_status=by_status,
        usage=usage,
        total_tokens=usage.total,
        total_cost_usd=sum(amounts) if amounts else None,
        unpriced=sum(row["unpriced"] for row in rows),
        first_run_at=min(row["first_at"] for row in rows),
        last_run_at=max(row["last_at"] for row in rows),
    )
