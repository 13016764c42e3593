"""Copying bodies from the bus into Postgres, before the steps that point to them are written."""

from collections.abc import Sequence

from services.recorder.projection import StepRow
from services.recorder.references import BodyKey
from services.recorder.store import bodies
from shared.bodies import BodyMissing, BodyStore
from shared.database import Database
from shared.errors import Permanent


async def copy(database: Database, objects: BodyStore, rows: Sequence[StepRow]) -> None:
    """Copy what the rows point to and Postgres does not have; one body in memory at a time.

    Raises Permanent when a body is nowhere.
    """
    for key in await _wanted(database, rows):
        try:
            content = await objects.get(key.project, key.sha256)
        except BodyMissing as error:
            if key not in await _wanted(database, rows):  # its run was deleted meanwhile
                continue
            raise Permanent(f"body {key.sha256} is neither on the bus nor in Postgres") from error
        async with database.connection() as connection:
            await bodies.insert(connection, key, content)


async def _wanted(database: Database, rows: Sequence[StepRow]) -> list[BodyKey]:
    async with database.connection() as connection:
        return await bodies.wanted(connection, rows)
