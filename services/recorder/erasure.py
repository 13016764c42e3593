"""Erasing runs: a tombstone that refuses late steps, then the steps, then the bodies that nobody else needs.

Every part may be repeated, and a crash between two leaves what the repetition needs: bodies leave the bus
while the steps still say which there were.
"""

from collections.abc import Collection, Sequence
from typing import Final

from services.recorder.merge import COLUMNS
from services.recorder.references import BodyKey
from shared.bodies import BodyStore
from shared.database import Connection, Database
from shared.steps import RunDeleted

# A deleted run is as if no step had come, so that it does not matter which ones had.
BLANK: Final = ("status", "status_seq", "response_seq", "last_seq")
CLEARED: Final = ", ".join(
    f"{name} = excluded.{name}" if name in BLANK else f"{name} = DEFAULT"
    for name in COLUMNS
    if name not in {"run_id", "project"}
)
BURY: Final = f"""
INSERT INTO runs (run_id, project, deleted_at, {", ".join(BLANK)})
SELECT run_id, project, deleted_at, 'queued', -1, -1, -1
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS deleted (run_id, project, deleted_at)
ON CONFLICT (run_id) DO UPDATE SET {CLEARED}, deleted_at = LEAST(runs.deleted_at, excluded.deleted_at)
"""  # noqa: S608 - constants
ERASE_PLAIN: Final = "DELETE FROM steps WHERE run_id = ANY ($1::uuid[]) AND body_refs IS NULL"
ERASE: Final = "DELETE FROM steps WHERE run_id = ANY ($1::uuid[])"
REFERENCED: Final = """
SELECT DISTINCT project, unnest(body_refs) AS sha256 FROM steps
WHERE run_id = ANY ($1::uuid[]) AND body_refs IS NOT NULL
"""
NEEDED: Final = """
EXISTS (
    SELECT FROM steps JOIN runs USING (run_id)
    WHERE steps.body_refs @> ARRAY[old.sha256] AND steps.project = old.project AND runs.deleted_at IS NULL
)
"""
OLD: Final = "unnest($1::text[], $2::text[]) AS old (project, sha256)"
FREE: Final = f"SELECT project, sha256 FROM {OLD} WHERE NOT {NEEDED}"  # noqa: S608 - constants
LOCK: Final = f"""
SELECT FROM bodies JOIN {OLD} USING (project, sha256) ORDER BY project, sha256 FOR UPDATE OF bodies
"""
DROP: Final = f"""
DELETE FROM bodies USING {OLD}
WHERE (bodies.project, bodies.sha256) = (old.project, old.sha256) AND NOT {NEEDED}
"""  # noqa: S608 - constants


async def erase(
    database: Database, objects: BodyStore, deletions: Sequence[RunDeleted], orphans: Collection[BodyKey]
) -> None:
    """Erase the deleted runs, and the orphans: bodies that came with late steps of deleted runs."""
    run_ids = sorted({step.run_id for step in deletions})
    async with database.transaction() as connection:
        await _bury(connection, deletions)
        await connection.execute(ERASE_PLAIN, run_ids)
        bodies = {BodyKey(*row) for row in await connection.fetch(REFERENCED, run_ids)} | set(orphans)
    if not bodies:
        return
    columns = [key.project for key in bodies], [key.sha256 for key in bodies]
    async with database.connection() as connection:
        free = await connection.fetch(FREE, *columns)
    for project, sha256 in free:
        await objects.delete(project, sha256)
    async with database.transaction() as connection:
        # A statement of its own: what others committed before they let the lock go must be seen below.
        await connection.execute(LOCK, *columns)
        await connection.execute(ERASE, run_ids)
        await connection.execute(DROP, *columns)


async def _bury(connection: Connection, deletions: Sequence[RunDeleted]) -> None:
    first = {step.run_id: step for step in sorted(deletions, key=lambda step: step.at, reverse=True)}
    runs = [first[run_id] for run_id in sorted(first)]
    await connection.execute(
        BURY, [step.run_id for step in runs], [step.project for step in runs], [step.at for step in runs]
    )
