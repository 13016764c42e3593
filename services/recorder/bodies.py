"""The bodies in Postgres: copied from the bus before the steps that point to them are written."""

from collections.abc import Collection, Sequence
from typing import Final

from services.recorder.projection import StepRow
from services.recorder.references import BodyKey, Texts
from shared.bodies import BodyMissing, BodyStore
from shared.database import Connection, Database
from shared.errors import Permanent

# Enough for a preview, whatever is escaped, and for the whole of what is shown whole.
PREFIX_BYTES: Final = 64 * 1024

# A deleted run's body must not come back.
WANTED: Final = """
SELECT DISTINCT project, sha256
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS wanted (run_id, project, sha256)
WHERE NOT EXISTS (SELECT FROM bodies WHERE (bodies.project, bodies.sha256) = (wanted.project, wanted.sha256))
  AND NOT EXISTS (SELECT FROM runs WHERE runs.run_id = wanted.run_id AND runs.deleted_at IS NOT NULL)
ORDER BY project, sha256
"""
INSERT: Final = """
INSERT INTO bodies (project, sha256, size, content) VALUES ($1, $2, $3, $4)
ON CONFLICT (project, sha256) DO NOTHING
"""
HOLD: Final = """
SELECT bodies.project, bodies.sha256
FROM bodies JOIN unnest($1::text[], $2::text[]) AS held (project, sha256) USING (project, sha256)
ORDER BY bodies.project, bodies.sha256
FOR KEY SHARE OF bodies
"""
READ: Final = """
SELECT project, sha256, substring(bodies.content FROM 1 FOR $3) AS beginning
FROM bodies JOIN unnest($1::text[], $2::text[]) AS shown (project, sha256) USING (project, sha256)
"""


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
            await connection.execute(INSERT, key.project, key.sha256, len(content), content)


async def hold(connection: Connection, keys: Collection[BodyKey]) -> frozenset[BodyKey]:
    """Those of the bodies that exist; they stay until the transaction ends."""
    return frozenset(BodyKey(*row) for row in await connection.fetch(HOLD, *_columns(keys)))


async def read(connection: Connection, keys: Collection[BodyKey]) -> Texts:
    """The first 64 KiB of each body's JSON text."""
    rows = await connection.fetch(READ, *_columns(keys), PREFIX_BYTES)
    return {BodyKey(row[0], row[1]): row[2].decode(errors="ignore") for row in rows}


async def _wanted(database: Database, rows: Sequence[StepRow]) -> list[BodyKey]:
    pairs = [(row.step.run_id, key) for row in rows for key in row.bodies]
    async with database.connection() as connection:
        wanted = await connection.fetch(
            WANTED,
            [run_id for run_id, _ in pairs],
            [key.project for _, key in pairs],
            [key.sha256 for _, key in pairs],
        )
    return [BodyKey(*row) for row in wanted]


def _columns(keys: Collection[BodyKey]) -> tuple[list[str], list[str]]:
    return [key.project for key in keys], [key.sha256 for key in keys]
