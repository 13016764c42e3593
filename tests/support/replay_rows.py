"""What the replayer leaves in its tables, written for tests of those who read them."""

from typing import Any
from uuid import UUID

import uuid_utils
from pydantic_core import to_json

from services.gateway.replays.views import ReplayDetail, ReplayRun
from shared.database import Connection, Database
from shared.diff.models import RunDiff

REPLAY = """
    INSERT INTO replays (replay_id, project, mode, status, job, result, error, created_at, finished_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
RUN = """
    INSERT INTO replay_runs (run_id, replay_id, project, source_run_id, place, arm, sample, fork_step, status,
                             measures, requested_at, ended_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
DIFF = """
    INSERT INTO diffs (diff_id, project, replay_id, left_run_id, right_run_id, diff)
    VALUES ($1, $2, $3, $4, $5, $6)
"""


async def taken_up(database: Database, replay: ReplayDetail) -> str | None:
    """The replay's rows, those of its runs and of the diff of the first of them, whose id is returned."""
    async with database.transaction() as connection:
        await connection.execute(
            REPLAY,
            *(UUID(replay.replay_id), replay.order.project, replay.mode, replay.status),
            *map(_json, (replay.order, replay.result, replay.error)),
            *(replay.created_at, replay.finished_at),
        )
        for run in replay.items:
            await _run(connection, replay, run)
        return await _diff(connection, replay, replay.diff) if replay.diff is not None else None


async def _run(connection: Connection, replay: ReplayDetail, run: ReplayRun) -> None:
    await connection.execute(
        RUN,
        *(UUID(run.run_id), UUID(replay.replay_id), replay.order.project, UUID(run.source_run_id)),
        *(0, run.arm, run.sample, run.fork_step, run.status, _json(run.measures)),
        *(run.requested_at, run.ended_at),
    )


async def _diff(connection: Connection, replay: ReplayDetail, diff: RunDiff) -> str:
    diff_id = UUID(str(uuid_utils.uuid7()))
    sides = (UUID(diff.left.run_id), UUID(diff.right.run_id))
    await connection.execute(DIFF, diff_id, replay.order.project, UUID(replay.replay_id), *sides, _json(diff))
    return str(diff_id)


def _json(value: Any) -> str | None:
    return to_json(value).decode() if value is not None else None
