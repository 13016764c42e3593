"""The table `steps`: in once, out when late or of a deleted run; and its weekly partitions."""

from collections.abc import Sequence
from typing import Final

from services.recorder.projection import StepKey, StepRow
from services.recorder.references import BodyKey
from shared.database import Connection

INSERT: Final = """
INSERT INTO steps (run_id, seq, project, kind, at, payload, body_refs)
SELECT run_id, seq, project, kind, at, payload, string_to_array(refs, ',')
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::json[], $7::text[])
    AS new (run_id, seq, project, kind, at, payload, refs)
ON CONFLICT (run_id, seq) DO NOTHING
RETURNING run_id, seq
"""
DELETE: Final = """
DELETE FROM steps USING unnest($1::uuid[], $2::int[]) AS late (run_id, seq)
WHERE steps.run_id = late.run_id AND steps.seq = late.seq
"""
ERASE: Final = "DELETE FROM steps WHERE run_id = ANY ($1::uuid[])"
ERASE_PLAIN: Final = "DELETE FROM steps WHERE run_id = ANY ($1::uuid[]) AND body_refs IS NULL"
REFERENCED: Final = """
SELECT DISTINCT project, unnest(body_refs) AS sha256 FROM steps
WHERE run_id = ANY ($1::uuid[]) AND body_refs IS NOT NULL
"""
CREATE_PARTITIONS: Final = (
    "SELECT create_step_partitions(now() - interval '2 weeks', now() + make_interval(weeks => $1))"
)
WEEKS_AHEAD: Final = """
SELECT count(*) FROM generate_series(1, 53) AS n
WHERE to_regclass('steps_' || to_char(now() + make_interval(weeks => n), 'IYYY"w"IW')) IS NOT NULL
"""


async def insert(connection: Connection, rows: Sequence[StepRow]) -> Sequence[StepRow]:
    """Insert the rows, which are sorted by key; returns those that were not there before."""
    steps = [row.step for row in rows]
    inserted = await connection.fetch(
        INSERT,
        [step.run_id for step in steps],
        [step.seq for step in steps],
        [step.project for step in steps],
        [step.kind for step in steps],
        [step.at for step in steps],
        [row.payload for row in rows],
        [",".join(key.sha256 for key in row.bodies) or None for row in rows],
    )
    if len(inserted) == len(rows):
        return rows
    keys = {(str(run_id), seq) for run_id, seq in inserted}
    return [row for row in rows if (row.step.run_id, row.step.seq) in keys]


async def delete(connection: Connection, keys: Sequence[StepKey]) -> None:
    await connection.execute(DELETE, [run_id for run_id, _ in keys], [seq for _, seq in keys])


async def erase(connection: Connection, run_ids: Sequence[str]) -> None:
    """Delete every step of the runs."""
    await connection.execute(ERASE, run_ids)


async def erase_plain(connection: Connection, run_ids: Sequence[str]) -> frozenset[BodyKey]:
    """Delete the steps of the runs that point to no body; returns the bodies that the others point to."""
    await connection.execute(ERASE_PLAIN, run_ids)
    return frozenset(BodyKey(*row) for row in await connection.fetch(REFERENCED, run_ids))


async def create_partitions(connection: Connection, weeks_ahead: int) -> tuple[int, int]:
    """Create what is missing up to that many weeks from now; how many that were, and how many weeks exist."""
    created = await connection.fetchval(CREATE_PARTITIONS, weeks_ahead)
    return created, await connection.fetchval(WEEKS_AHEAD)
