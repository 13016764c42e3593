"""The recorder's SQL for steps and runs. Erasing is in `erasure.py`, bodies are in `bodies.py`.

Recorders never wait for each other in a circle: a batch takes its locks in the order bodies, steps, runs,
each kind sorted by key, and erasing a run, which starts with its lock, waits for no step of another.
"""

from collections.abc import Collection, Sequence
from typing import Final

from services.recorder.change import RunChange
from services.recorder.merge import UPSERT, values
from services.recorder.projection import StepKey, StepRow
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
DELETED: Final = "SELECT run_id FROM runs WHERE run_id = ANY ($1::uuid[]) AND deleted_at IS NOT NULL"


async def insert_steps(connection: Connection, rows: Sequence[StepRow]) -> Sequence[StepRow]:
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


async def merge_changes(connection: Connection, changes: Sequence[RunChange]) -> frozenset[str]:
    """Apply the changes, one for a run and sorted by run; returns the runs that are deleted."""
    merged = await connection.fetch(UPSERT, *values(changes))
    if len(merged) == len(changes):
        return frozenset()
    return frozenset(change.run_id for change in changes) - {str(row[0]) for row in merged}


async def delete_steps(connection: Connection, keys: Sequence[StepKey]) -> None:
    await connection.execute(DELETE, [run_id for run_id, _ in keys], [seq for _, seq in keys])


async def deleted_runs(connection: Connection, run_ids: Collection[str]) -> frozenset[str]:
    rows = await connection.fetch(DELETED, list(run_ids))
    return frozenset(str(row[0]) for row in rows)
