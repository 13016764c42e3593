"""SQL that reads replays for the API. Every statement names the project."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from services.gateway.replays.rules import BASELINE
from services.gateway.replays.views import ReplayDetail, ReplayRun, ReplaySummary
from shared.database import Connection
from shared.diff.models import RunDiff
from shared.messages import ReplayRequested
from shared.replay_results import ReplayResult, ReplayStatus, RunCounts, RunMeasures, Trouble
from shared.steps import RunStatus

# The order and the result can be large: a list takes only what it shows of them.
SUMMARIES: Final = """
    SELECT replay_id, mode, status, created_at, finished_at, error, job -> 'sources' ->> 0 AS run_id,
           jsonb_array_length(job -> 'sources') AS sources, job -> 'samples' AS samples,
           jsonb_path_query_array(job, '$.arms[*].name') AS arms, job -> 'fork_step' AS fork_step,
           job -> 'metadata' AS metadata, result -> 'runs' AS runs, result #>> '{verdict,words}' AS verdict,
           result #>> '{blame,words}' AS blame
    FROM replays WHERE project = $1
"""
ONE: Final = f"""
    SELECT one.*, job, result FROM ({SUMMARIES} AND replay_id = $2) AS one JOIN replays USING (replay_id)
"""  # noqa: S608 - constants
STATUS: Final = "SELECT status FROM replays WHERE project = $1 AND replay_id = $2"
IS_THERE: Final = """
    NOT EXISTS (SELECT FROM runs AS r WHERE r.run_id IN (d.left_run_id, d.right_run_id)
                AND r.deleted_at IS NOT NULL)
    AND NOT EXISTS (SELECT FROM deletions AS x WHERE x.run_id IN (d.left_run_id, d.right_run_id))
"""
RUNS: Final = f"""
    SELECT w.*, EXISTS (SELECT FROM diffs AS d WHERE d.right_run_id = w.run_id AND {IS_THERE}) AS has_diff
    FROM replay_runs AS w WHERE w.project = $1 AND w.replay_id = $2 AND ($3::uuid IS NULL OR w.run_id > $3)
    ORDER BY w.run_id LIMIT $4
"""  # noqa: S608 - constants
DIFF: Final = f"""
    SELECT d.diff_id, d.right_run_id, d.diff
    FROM diffs AS d JOIN replay_runs AS w ON w.run_id = d.right_run_id
    WHERE d.project = $1 AND d.replay_id = $2 AND ($3::uuid IS NULL OR d.right_run_id = $3) AND {IS_THERE}
    ORDER BY w.place, w.sample, w.arm = '{BASELINE}', w.run_id LIMIT 1
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class ReplayFilter:
    """What a listed replay must have; None does not matter."""

    mode: str | None = None
    status: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class StoredDiff:
    diff_id: str
    run_id: str
    diff: RunDiff


async def replays(
    connection: Connection, project: str, wanted: ReplayFilter, before: UUID | None, limit: int
) -> list[ReplaySummary]:
    """Newest first; ids are ordered by time."""
    values: list[Any] = [project]
    statement = SUMMARIES
    conditions = {
        "mode = ${}": wanted.mode,
        "status = ${}": wanted.status,
        "job -> 'sources' ? ${}": wanted.run_id,
        "replay_id < ${}": before,
    }
    for condition, value in conditions.items():
        if value is not None:
            values.append(value)
            statement += f" AND {condition.format(len(values))}"
    values.append(limit)
    statement += f" ORDER BY replay_id DESC LIMIT ${len(values)}"
    return [ReplaySummary(**_summary(row)) for row in await connection.fetch(statement, *values)]


async def replay(
    connection: Connection, project: str, replay_id: UUID, most_runs: int
) -> ReplayDetail | None:
    """With at most so many runs, `next_cursor` unset: None for one that the replayer has not taken up."""
    row: Any = await connection.fetchrow(ONE, project, replay_id)
    if row is None:
        return None
    stored = await diff(connection, project, replay_id, None)
    return ReplayDetail(
        **_summary(row),
        order=ReplayRequested.model_validate_json(row["job"]),
        result=ReplayResult.model_validate_json(row["result"]) if row["result"] else None,
        items=tuple(await runs(connection, project, replay_id, None, most_runs)),
        next_cursor=None,
        diff=stored.diff if stored is not None else None,
    )


async def status(connection: Connection, project: str, replay_id: UUID) -> ReplayStatus | None:
    found: ReplayStatus | None = await connection.fetchval(STATUS, project, replay_id)
    return found


async def runs(
    connection: Connection, project: str, replay_id: UUID, after: UUID | None, limit: int
) -> list[ReplayRun]:
    """In the order of their ids."""
    return [_run(row) for row in await connection.fetch(RUNS, project, replay_id, after, limit)]


async def diff(
    connection: Connection, project: str, replay_id: UUID, run_id: UUID | None
) -> StoredDiff | None:
    """How this run differs from its source, or the first one that has a diff and changes something. Not of
    deleted runs."""
    row: Any = await connection.fetchrow(DIFF, project, replay_id, run_id)
    if row is None:
        return None
    return StoredDiff(str(row["diff_id"]), str(row["right_run_id"]), RunDiff.model_validate_json(row["diff"]))


def _summary(row: Any) -> dict[str, Any]:
    return {
        "replay_id": str(row["replay_id"]),
        **{name: row[name] for name in ("mode", "status", "run_id", "sources", "created_at", "finished_at")},
        **{name: from_json(row[name]) for name in ("arms", "samples", "fork_step", "metadata")},
        "runs": RunCounts.model_validate_json(row["runs"]) if row["runs"] else None,
        "words": row["verdict"] or row["blame"],
        "error": Trouble.model_validate_json(row["error"]) if row["error"] else None,
    }


def _run(row: Any) -> ReplayRun:
    return ReplayRun(
        run_id=str(row["run_id"]),
        source_run_id=str(row["source_run_id"]),
        status=RunStatus(row["status"]) if row["status"] else None,
        measures=RunMeasures.model_validate_json(row["measures"]) if row["measures"] else None,
        **{
            name: row[name] for name in ("arm", "sample", "fork_step", "requested_at", "ended_at", "has_diff")
        },
    )
