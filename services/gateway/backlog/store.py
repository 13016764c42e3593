"""SQL about runs that wait for their turn, and about the batches they came in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from uuid import UUID

from shared.database import Connection
from shared.subjects import RunKey

Priority = Literal["cancelled", "interactive", "batch"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""The most urgent first."""

ADD_BATCH: Final = """
    INSERT INTO batches (id, project, name, digest, request) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (project, digest) DO NOTHING
"""
HOLD: Final = """
    INSERT INTO queued_runs (run_id, project, priority, batch_id, place, line, job)
    SELECT run_id, $1, $2, $3, place, line, job
    FROM unnest($4::uuid[], $5::int[], $6::bytea[], $7::bytea[]) AS held (run_id, place, line, job)
    ON CONFLICT DO NOTHING
"""
# A run that waits for a person holds no runner, and a deleted one is over.
ENDED: Final = """
    UPDATE queued_runs AS q SET has_ended = true FROM runs AS r
    WHERE q.released_at IS NOT NULL AND NOT q.has_ended AND r.run_id = q.run_id
    AND (r.status IN ('completed', 'failed', 'cancelled') OR r.deleted_at IS NOT NULL)
"""
BUSY: Final = """
    SELECT q.project, count(*) AS runs FROM queued_runs AS q LEFT JOIN runs AS r ON r.run_id = q.run_id
    WHERE q.released_at IS NOT NULL AND NOT q.has_ended AND q.priority = $1
    AND r.status IS DISTINCT FROM 'waiting' GROUP BY q.project
"""
# The projects that have something, one look into the index for each; of these, in turn, who has least.
# Who cancels waits for the lock, and then finds the run among those that were released.
NEXT: Final = f"""
    WITH RECURSIVE busy AS ({BUSY}), projects AS (
        (SELECT project FROM queued_runs WHERE released_at IS NULL AND priority = $1 ORDER BY project LIMIT 1)
        UNION ALL
        SELECT (SELECT q.project FROM queued_runs AS q WHERE q.released_at IS NULL AND q.priority = $1
                AND q.project > projects.project ORDER BY q.project LIMIT 1)
        FROM projects WHERE projects.project IS NOT NULL
    ), chosen AS (
        SELECT held.run_id, coalesce(busy.runs, 0) + held.turn AS turn
        FROM projects LEFT JOIN busy USING (project), LATERAL (
            SELECT q.run_id, row_number() OVER (ORDER BY q.run_id) AS turn FROM queued_runs AS q
            WHERE q.released_at IS NULL AND q.priority = $1 AND q.project = projects.project
            ORDER BY q.run_id LIMIT $2
        ) AS held
        ORDER BY turn, held.run_id LIMIT $2
    )
    SELECT q.run_id, q.project, q.job, b.cancelled_by
    FROM chosen JOIN queued_runs AS q USING (run_id) LEFT JOIN batches AS b ON b.id = q.batch_id
    ORDER BY chosen.turn, q.run_id FOR UPDATE OF q SKIP LOCKED
"""  # noqa: S608 - constants
RELEASE: Final = "UPDATE queued_runs SET released_at = now(), job = NULL WHERE run_id = ANY ($1::uuid[])"
HELD: Final = """
    SELECT count(*) FROM (
        SELECT FROM queued_runs WHERE project = $1 AND released_at IS NULL
        AND priority IN ('interactive', 'batch') LIMIT $2
    ) AS held
"""
HURRY: Final = """
    UPDATE queued_runs SET priority = 'cancelled' WHERE run_id = $1 AND project = $2 AND released_at IS NULL
"""
CANCEL: Final = """
    WITH batch AS (
        UPDATE batches
        SET cancelled_at = coalesce(cancelled_at, now()), cancelled_by = coalesce(cancelled_by, $3)
        WHERE project = $1 AND id = $2 RETURNING id
    ), held AS (
        UPDATE queued_runs SET priority = 'cancelled' FROM batch
        WHERE batch_id = batch.id AND released_at IS NULL AND priority <> 'cancelled' RETURNING run_id
    )
    SELECT EXISTS (SELECT FROM batch) AS is_there, (SELECT count(*) FROM held) AS held
"""
STANDING: Final = """
    SELECT EXISTS (SELECT FROM queued_runs WHERE released_at IS NULL) AS held,
           EXISTS (SELECT FROM queued_runs WHERE released_at IS NOT NULL AND NOT has_ended) AS released
"""
ONE_FEEDER: Final = 7_201_866


@dataclass(frozen=True)
class BatchRow:
    """What holds for all lines of a batch; `request` is its hash."""

    id: UUID
    project: str
    name: str | None
    digest: bytes | None
    request: bytes


@dataclass(frozen=True)
class Held:
    """An accepted run with its job as the broker will get it; in a batch with its line and its hash."""

    key: RunKey
    job: bytes
    place: int | None = None
    line: bytes | None = None


@dataclass(frozen=True)
class Due:
    """A run whose turn it is; `cancelled_by`: it was cancelled before it came."""

    key: RunKey
    job: bytes
    cancelled_by: str | None


async def add_batch(connection: Connection, batch: BatchRow) -> BatchRow:
    """The batch, or that of an earlier upload with the same key."""
    given = (batch.id, batch.project, batch.name, batch.digest, batch.request)
    if await connection.execute(ADD_BATCH, *given) != "INSERT 0 0":
        return batch
    row: Any = await connection.fetchrow(
        "SELECT id, project, name, digest, request FROM batches WHERE project = $1 AND digest = $2",
        batch.project,
        batch.digest,
    )
    return BatchRow(**row)


async def is_cancelled(connection: Connection, batch: UUID) -> bool:
    """Until the transaction ends, nobody can cancel it."""
    statement = "SELECT cancelled_at IS NOT NULL FROM batches WHERE id = $1 FOR SHARE"
    return bool(await connection.fetchval(statement, batch))


async def set_size(connection: Connection, batch: UUID, size: int) -> None:
    await connection.execute("UPDATE batches SET size = $2 WHERE id = $1", batch, size)


async def lines(connection: Connection, batch: UUID, first: int, last: int) -> dict[int, tuple[bytes, str]]:
    """The lines that are there already: the hash and the run of each."""
    rows = await connection.fetch(
        "SELECT place, line, run_id FROM queued_runs WHERE batch_id = $1 AND place BETWEEN $2 AND $3",
        batch,
        first,
        last,
    )
    return {row["place"]: (row["line"], str(row["run_id"])) for row in rows}


async def hold(
    connection: Connection, project: str, priority: Priority, held: Sequence[Held], batch: UUID | None = None
) -> None:
    """Those whose line is there already are left out."""
    columns: Iterable[Sequence[Any]] = (
        [UUID(each.key.run_id) for each in held],
        [each.place for each in held],
        [each.line for each in held],
        [each.job for each in held],
    )
    await connection.execute(HOLD, project, priority, batch, *columns)


async def count_held(connection: Connection, project: str, most: int) -> int:
    """How many runs of the project wait for their turn; counted up to `most`."""
    return int(await connection.fetchval(HELD, project, most))


async def job_of(connection: Connection, run: RunKey) -> tuple[bool, bytes | None]:
    """Whether the run is or was one of these, and its job while it waits."""
    row = await connection.fetchrow(
        "SELECT job FROM queued_runs WHERE run_id = $1 AND project = $2", UUID(run.run_id), run.project
    )
    return row is not None, row["job"] if row is not None else None


async def hurry(connection: Connection, run: RunKey) -> None:
    """The run has its turn before all that are to be done."""
    await connection.execute(HURRY, UUID(run.run_id), run.project)


async def is_only_feeder(connection: Connection) -> bool:
    """Whether no other gateway feeds the queue; until the transaction ends."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", ONE_FEEDER))


async def standing(connection: Connection) -> tuple[bool, bool]:
    """Whether any run waits for its turn, and whether any that had its turn takes room."""
    row: Any = await connection.fetchrow(STANDING)
    return row["held"], row["released"]


async def note_ended(connection: Connection) -> None:
    """Runs that have ended make room."""
    await connection.execute(ENDED)


async def count_busy(connection: Connection, priority: Priority) -> int:
    """How many runs that were released are on their way."""
    return sum(row["runs"] for row in await connection.fetch(BUSY, priority))


async def next_due(connection: Connection, priority: Priority, most: int) -> list[Due]:
    """Whose turn it is: of the project that has the fewest on their way the oldest, and so on."""
    rows = await connection.fetch(NEXT, priority, most)
    return [Due(RunKey(row["project"], str(row["run_id"])), row["job"], row["cancelled_by"]) for row in rows]


async def release(connection: Connection, runs: Iterable[RunKey]) -> None:
    """The broker has them."""
    await connection.execute(RELEASE, [UUID(run.run_id) for run in runs])


async def cancel(connection: Connection, project: str, batch: UUID, who: str) -> int | None:
    """How many runs of the batch will now be cancelled instead of started; None if there is no such batch."""
    row = await connection.fetchrow(CANCEL, project, batch, who)
    return row["held"] if row is not None and row["is_there"] else None
