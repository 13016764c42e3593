"""The table `replay_runs`: planned, requested, ended by the word of their log, measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncpg import Record

from services.replayer.replay_runs import Planned, ReplayRun
from shared.database import Connection
from shared.messages import ReplayRequested
from shared.replay_results import RunMeasures
from shared.steps import RunStatus

PLAN: Final = """
INSERT INTO replay_runs (run_id, replay_id, project, source_run_id, place, arm, sample, fork_step)
SELECT run_id, $1, $2, source_run_id, place, arm, sample, fork_step
FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::int[], $8::int[])
AS planned (run_id, source_run_id, place, arm, sample, fork_step)
ON CONFLICT (run_id) DO NOTHING
"""
COLUMNS: Final = "run_id, place, arm, sample, fork_step, status, measures, requested_at"
WAITING: Final = f"""
SELECT {COLUMNS} FROM replay_runs
WHERE replay_id = $1 AND requested_at IS NULL AND ended_at IS NULL
ORDER BY sample, place, arm, fork_step
LIMIT GREATEST(0, $2 - (
    SELECT count(*) FROM replay_runs WHERE replay_id = $1 AND requested_at IS NOT NULL AND ended_at IS NULL
))
"""  # noqa: S608 - constants
REQUESTED: Final = "UPDATE replay_runs SET requested_at = now() WHERE run_id = ANY ($1::uuid[])"
OVER: Final = f"""
SELECT {COLUMNS} FROM replay_runs
WHERE replay_id = $1 AND status IS NOT NULL AND ended_at IS NULL ORDER BY run_id LIMIT $2
"""  # noqa: S608 - constants
UNDER_WAY: Final = f"""
SELECT {COLUMNS} FROM replay_runs
WHERE replay_id = $1 AND requested_at IS NOT NULL AND ended_at IS NULL
"""  # noqa: S608 - constants
ENDED: Final = f"""
SELECT {COLUMNS} FROM replay_runs WHERE replay_id = $1 AND ended_at IS NOT NULL ORDER BY sample, place, run_id
"""  # noqa: S608 - constants
IS_OPEN: Final = "SELECT EXISTS (SELECT FROM replay_runs WHERE replay_id = $1 AND ended_at IS NULL)"
COUNT: Final = "SELECT count(*) FROM replay_runs WHERE replay_id = $1"
END: Final = """
UPDATE replay_runs SET status = $2, measures = $3, ended_at = now() WHERE run_id = $1 AND ended_at IS NULL
"""
GOES_ON: Final = "UPDATE replay_runs SET status = NULL WHERE run_id = $1 AND ended_at IS NULL"
FORGET: Final = "DELETE FROM replay_runs WHERE replay_id = $1 AND requested_at IS NULL AND ended_at IS NULL"
# In the order of the keys, so that two who mark the same runs do not wait for each other.
MARK: Final = """
UPDATE replay_runs SET status = over.status
FROM (
    SELECT run_id, given.status FROM replay_runs JOIN unnest($1::uuid[], $2::text[]) AS given (run_id, status)
    USING (run_id) WHERE ended_at IS NULL ORDER BY run_id FOR UPDATE OF replay_runs
) AS over
WHERE replay_runs.run_id = over.run_id
RETURNING replay_runs.run_id
"""
SILENT: Final = """
SELECT run_id, project, replay_id, requested_at FROM replay_runs
WHERE ended_at IS NULL AND status IS NULL AND requested_at < now() - make_interval(secs => $1)
ORDER BY random() LIMIT $2
"""


@dataclass(frozen=True)
class Silent:
    """A run under way of which nothing was heard for long."""

    run_id: str
    project: str
    replay_id: str
    requested_at: datetime


async def plan(connection: Connection, order: ReplayRequested, runs: Sequence[Planned]) -> None:
    """Runs that are planned already stay as they are."""
    rows = [
        (run.run_id(order), run.source(order), run.place, run.arm, run.sample, run.fork_step) for run in runs
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(PLAN, order.replay_id, order.project, *columns)


async def waiting(connection: Connection, replay_id: str, room: int) -> list[ReplayRun]:
    """The runs to request next, so that no more than `room` are under way."""
    return _runs(await connection.fetch(WAITING, replay_id, room))


async def requested(connection: Connection, run_ids: Sequence[str]) -> None:
    await connection.execute(REQUESTED, run_ids)


async def over(connection: Connection, replay_id: str, most: int) -> list[ReplayRun]:
    """Runs that have ended and are not measured yet."""
    return _runs(await connection.fetch(OVER, replay_id, most))


async def under_way(connection: Connection, replay_id: str) -> list[ReplayRun]:
    return _runs(await connection.fetch(UNDER_WAY, replay_id))


async def ended(connection: Connection, replay_id: str) -> list[ReplayRun]:
    return _runs(await connection.fetch(ENDED, replay_id))


async def is_open(connection: Connection, replay_id: str) -> bool:
    """Whether a planned run has not ended yet."""
    return bool(await connection.fetchval(IS_OPEN, replay_id))


async def count(connection: Connection, replay_id: str) -> int:
    """How many are planned, with those that have ended."""
    return int(await connection.fetchval(COUNT, replay_id))


async def end(connection: Connection, run_id: str, status: RunStatus, measures: RunMeasures) -> None:
    await connection.execute(END, run_id, status, measures.model_dump_json())


async def goes_on(connection: Connection, run_id: str) -> None:
    """It was retried after its end."""
    await connection.execute(GOES_ON, run_id)


async def forget_waiting(connection: Connection, replay_id: str) -> None:
    """Those that were planned and never requested."""
    await connection.execute(FORGET, replay_id)


async def mark(connection: Connection, statuses: Mapping[str, RunStatus]) -> bool:
    """These runs have ended so; returns whether a replay waits for one of them. Others are nobody's."""
    rows = await connection.fetch(MARK, list(statuses), [str(status) for status in statuses.values()])
    return bool(rows)


async def silent(connection: Connection, seconds: float, most: int) -> list[Silent]:
    rows = await connection.fetch(SILENT, seconds, most)
    return [Silent(str(row[0]), row[1], str(row[2]), row[3]) for row in rows]


def _runs(rows: Sequence[Record]) -> list[ReplayRun]:
    return [
        ReplayRun(
            run_id=str(row["run_id"]),
            planned=Planned(row["place"], row["arm"], row["sample"], row["fork_step"]),
            status=RunStatus(row["status"]) if row["status"] is not None else None,
            measures=RunMeasures.model_validate_json(row["measures"]) if row["measures"] else None,
            requested_at=row["requested_at"],
        )
        for row in rows
    ]
