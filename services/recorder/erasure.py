"""Erasing runs: a tombstone that refuses late steps, then the steps, then the bodies that nobody else needs.

Every part may be repeated, and a crash between two leaves what the repetition needs: bodies leave the bus
while the steps still say which there were.
"""

from collections.abc import Collection, Sequence

from services.recorder.references import BodyKey
from services.recorder.store import bodies, runs, steps
from shared.bodies import BodyStore
from shared.database import Database
from shared.steps import RunDeleted


async def erase(
    database: Database, objects: BodyStore, deletions: Sequence[RunDeleted], orphans: Collection[BodyKey]
) -> None:
    """Erase the deleted runs, and the orphans: bodies that came with late steps of deleted runs."""
    run_ids = sorted({step.run_id for step in deletions})
    async with database.transaction() as connection:
        await runs.bury(connection, deletions)
        keys = await steps.erase_plain(connection, run_ids) | set(orphans)
    if not keys:
        return
    async with database.connection() as connection:
        free = await bodies.free(connection, keys)
    for key in free:
        await objects.delete(*key)
    async with database.transaction() as connection:
        await bodies.drop(connection, keys)
        await steps.erase(connection, run_ids)
