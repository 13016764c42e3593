"""The tables `replays` and `diffs`: orders in, one replay locked for a look at it, what came of it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.database import Connection
from shared.diff import RunDiff
from shared.messages import ReplayRequested
from shared.replay_results import ReplayResult, ReplayStatus, Trouble

ADD: Final = """
INSERT INTO replays (replay_id, project, mode, status, job, created_at)
VALUES ($1, $2, $3, 'queued', $4, $5) ON CONFLICT (replay_id) DO NOTHING
"""
CALL_OFF: Final = """
UPDATE replays SET status = 'cancelling' WHERE replay_id = $1 AND project = $2 AND finished_at IS NULL
"""
IS_KNOWN: Final = "SELECT EXISTS (SELECT FROM replays WHERE replay_id = $1 AND project = $2)"
# In turn the first of every project, then the second …: as many as are in work at once, but at least one of
# each project; and of those the ones with something to do.
DUE: Final = """
WITH ranked AS (
    SELECT replay_id, status,
           row_number() OVER (PARTITION BY project ORDER BY status <> 'cancelling', replay_id) AS rank
    FROM replays WHERE finished_at IS NULL
), open AS (
    SELECT * FROM ranked ORDER BY rank, replay_id
    LIMIT GREATEST($1, (SELECT count(*) FROM ranked WHERE rank = 1))
)
SELECT replay_id FROM open
WHERE status <> 'running'
OR NOT EXISTS (SELECT FROM replay_runs run WHERE run.replay_id = open.replay_id AND ended_at IS NULL)
OR (
    SELECT bool_or(run.status IS NOT NULL)
           OR count(run.requested_at) < $2 AND count(run.requested_at) < count(*)
    FROM replay_runs run WHERE run.replay_id = open.replay_id AND ended_at IS NULL
)
ORDER BY rank, replay_id
"""
LOCK: Final = """
SELECT status, job, result FROM replays WHERE replay_id = $1 AND finished_at IS NULL FOR UPDATE SKIP LOCKED
"""
PATIENCE: Final = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
BEGIN: Final = "UPDATE replays SET status = 'running' WHERE replay_id = $1 AND status = 'queued'"
TELL: Final = "UPDATE replays SET result = $2 WHERE replay_id = $1"
FINISH: Final = """
UPDATE replays SET status = $2, result = COALESCE($3, result), error = $4, finished_at = now()
WHERE replay_id = $1 AND finished_at IS NULL
"""
OPEN: Final = "SELECT count(*) FROM replays WHERE finished_at IS NULL"
ADD_DIFF: Final = """
INSERT INTO diffs (diff_id, project, replay_id, left_run_id, right_run_id, diff)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Replay:
    """A replay that nobody else looks at while the transaction lasts; `result` is what was told last."""

    order: ReplayRequested
    status: ReplayStatus
    result: ReplayResult | None


async def add(connection: Connection, orders: Sequence[ReplayRequested]) -> None:
    """Orders that are there already change nothing."""
    rows = [
        (order.replay_id, order.project, order.mode, order.model_dump_json(), order.at) for order in orders
    ]
    await connection.executemany(ADD, rows)


async def call_off(connection: Connection, project: str, replay_id: str) -> bool:
    """Whether the replay is known; one that has ended stays as it is."""
    await connection.execute(CALL_OFF, replay_id, project)
    return bool(await connection.fetchval(IS_KNOWN, replay_id, project))


async def due(connection: Connection, most: int, parallel: int) -> list[str]:
    """The replays in which there is something to do, in the order of their turn."""
    return [str(row[0]) for row in await connection.fetch(DUE, most, parallel)]


async def lock(connection: Connection, replay_id: str) -> Replay | None:
    """None: it has ended, or another has it."""
    await connection.execute(PATIENCE)
    row = await connection.fetchrow(LOCK, replay_id)
    if row is None:
        return None
    result = row["result"]
    return Replay(
        ReplayRequested.model_validate_json(row["job"]),
        row["status"],
        ReplayResult.model_validate_json(result) if result is not None else None,
    )


async def begin(connection: Connection, replay_id: str) -> None:
    await connection.execute(BEGIN, replay_id)


async def tell(connection: Connection, replay_id: str, result: ReplayResult) -> None:
    await connection.execute(TELL, replay_id, result.model_dump_json())


async def finish(
    connection: Connection,
    replay_id: str,
    status: ReplayStatus,
    result: ReplayResult | None = None,
    error: Trouble | None = None,
) -> None:
    told = result.model_dump_json() if result is not None else None
    await connection.execute(FINISH, replay_id, status, told, error.model_dump_json() if error else None)


async def count_open(connection: Connection) -> int:
    return int(await connection.fetchval(OPEN))


async def add_diff(connection: Connection, replay: Replay, diff_id: str, diff: RunDiff) -> None:
    """Of a run of the replay (right) against its source (left)."""
    order = replay.order
    sides = (diff.left.run_id, diff.right.run_id)
    await connection.execute(
        ADD_DIFF, diff_id, order.project, order.replay_id, *sides, diff.model_dump_json()
    )
