"""Where a run comes from and what has come of it: the tree of replays. SQL, and the tree made of its rows.

Runs that only verify another one have nothing of their own and are left out, but for the one asked about.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

from services.gateway.replays.views import Lineage, LineageRun
from services.gateway.views import RunReplay, RunView
from shared.database import Connection
from shared.steps import Edit, RunStatus
from shared.subjects import RunKey

MOST_RUNS: Final = 500
MOST_OF_ONE: Final = 100
MOST_DEEP: Final = 64
MOST_OF_EDIT: Final = 1024
IS_THERE: Final = """
    r.project = $1 AND r.deleted_at IS NULL
    AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = r.run_id)
"""
UP: Final = f"""
    WITH RECURSIVE up AS (
        SELECT r.run_id, r.source_run_id, 0 AS depth FROM runs AS r WHERE r.run_id = $2 AND {IS_THERE}
        UNION ALL
        SELECT r.run_id, r.source_run_id, up.depth + 1 FROM runs AS r JOIN up ON r.run_id = up.source_run_id
        WHERE {IS_THERE} AND up.depth < {MOST_DEEP}
    )
    SELECT run_id FROM up ORDER BY depth DESC
"""  # noqa: S608 - constants
RUNS: Final = f"""
    SELECT r.run_id, r.source_run_id, r.replay - 'tools' AS replay, r.agent, r.model, r.status,
           (SELECT sum(amount_usd) FROM charges WHERE charges.run_id = r.run_id) AS usd
    FROM runs AS r WHERE r.run_id = ANY ($2::uuid[]) AND {IS_THERE}
"""  # noqa: S608 - constants
IS_OWN: Final = "r.replay ->> 'mode' <> 'verify'"
# $3 are the runs on the way from the root to the run that was asked about: they are never left out.
BELOW: Final = f"""
    SELECT found.run_id FROM unnest($2::uuid[]) AS parent (run_id) CROSS JOIN LATERAL (
        SELECT r.run_id FROM runs AS r WHERE r.source_run_id = parent.run_id AND {IS_THERE}
        AND ({IS_OWN} OR r.run_id = ANY ($3)) ORDER BY r.run_id <> ALL ($3), r.run_id LIMIT $4
    ) AS found ORDER BY found.run_id <> ALL ($3), found.run_id LIMIT $5
"""  # noqa: S608 - constants
COUNTS: Final = f"""
    SELECT r.source_run_id, count(*) AS replays FROM runs AS r
    WHERE r.source_run_id = ANY ($2::uuid[]) AND {IS_THERE} AND ({IS_OWN} OR r.run_id = ANY ($3)) GROUP BY 1
"""  # noqa: S608 - constants


async def lineage(connection: Connection, run: RunKey) -> Lineage | None:
    """The tree in which the run is; None while the run is not recorded."""
    way = [row["run_id"] for row in await connection.fetch(UP, run.project, UUID(run.run_id))]
    if not way:
        return None
    found, level = [way[0]], [way[0]]
    while level and (left := MOST_RUNS - len(found)) > 0:
        rows = await connection.fetch(BELOW, run.project, level, way, MOST_OF_ONE, left)
        level = [row["run_id"] for row in rows]
        found += level
    counts = {row[0]: row[1] for row in await connection.fetch(COUNTS, run.project, found, way)}
    by_source: dict[UUID | None, list[Any]] = {}
    for row in sorted(await connection.fetch(RUNS, run.project, found), key=lambda row: row["run_id"]):
        is_root = row["run_id"] == way[0]
        by_source.setdefault(None if is_root else row["source_run_id"], []).append(row)
    return Lineage(root=_node(by_source[None][0], by_source, counts), runs=len(found))


def alone(view: RunView) -> Lineage:
    """The lineage of a run that only its log knows of so far."""
    fields = {name: getattr(view, name) for name in ("agent", "model", "status", "total_cost_usd")}
    return Lineage(
        root=LineageRun(run_id=view.run_id, **_of(view.replay), **fields, replays=(), more=0), runs=1
    )


def _node(row: Any, by_source: Mapping[UUID | None, Sequence[Any]], counts: Mapping[UUID, int]) -> LineageRun:
    below = by_source.get(row["run_id"], ())
    return LineageRun(
        run_id=str(row["run_id"]),
        **_of(RunReplay.model_validate_json(row["replay"]) if row["replay"] else None),
        agent=row["agent"],
        model=row["model"],
        status=RunStatus(row["status"]),
        total_cost_usd=row["usd"],
        replays=tuple(_node(each, by_source, counts) for each in below),
        more=counts.get(row["run_id"], 0) - len(below),
    )


def _of(plan: RunReplay | None) -> dict[str, Any]:
    names = ("source_run_id", "mode", "replay_id", "fork_step", "arm", "sample")
    if plan is None:
        return {**dict.fromkeys(names), "edits": ()}
    return {**{name: getattr(plan, name) for name in names}, "edits": tuple(map(_shown, plan.edits))}


def _shown(edit: Edit) -> Edit:
    is_large = len(to_json(edit.value)) > MOST_OF_EDIT
    return edit.model_copy(update={"value": None}) if is_large else edit
