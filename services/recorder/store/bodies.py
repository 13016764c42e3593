"""The table `bodies`: which are wanted, held while steps that point to them come, and free to go."""

from collections.abc import Collection, Sequence
from typing import Final

from services.recorder.projection import StepRow
from services.recorder.references import BodyKey, Texts
from shared.database import Connection

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
NAMED: Final = "unnest($1::text[], $2::text[]) AS named (project, sha256)"
READ: Final = f"""
SELECT project, sha256, substring(content FROM 1 FOR $3) FROM bodies JOIN {NAMED} USING (project, sha256)
"""  # noqa: S608 - constants
HOLD: Final = f"""
SELECT project, sha256 FROM bodies JOIN {NAMED} USING (project, sha256)
ORDER BY project, sha256 FOR KEY SHARE OF bodies
"""  # noqa: S608 - constants
LOCK: Final = f"""
SELECT FROM bodies JOIN {NAMED} USING (project, sha256) ORDER BY project, sha256 FOR UPDATE OF bodies
"""
NEEDED: Final = """
EXISTS (
    SELECT FROM steps JOIN runs USING (run_id)
    WHERE steps.body_refs @> ARRAY[named.sha256] AND steps.project = named.project AND runs.deleted_at IS NULL
)
"""
FREE: Final = f"SELECT project, sha256 FROM {NAMED} WHERE NOT {NEEDED}"  # noqa: S608 - constants
DROP: Final = f"""
DELETE FROM bodies USING {NAMED}
WHERE (bodies.project, bodies.sha256) = (named.project, named.sha256) AND NOT {NEEDED}
"""  # noqa: S608 - constants


async def wanted(connection: Connection, rows: Sequence[StepRow]) -> list[BodyKey]:
    """What the rows point to and Postgres does not have, unless the run is deleted."""
    pairs = [(row.step.run_id, key) for row in rows for key in row.bodies]
    columns = _columns([key for _, key in pairs])
    found = await connection.fetch(WANTED, [run_id for run_id, _ in pairs], *columns)
    return [BodyKey(*row) for row in found]


async def insert(connection: Connection, key: BodyKey, content: bytes) -> None:
    await connection.execute(INSERT, *key, len(content), content)


async def hold(connection: Connection, keys: Collection[BodyKey]) -> frozenset[BodyKey]:
    """Those of the bodies that exist; they stay until the transaction ends."""
    return frozenset(BodyKey(*row) for row in await connection.fetch(HOLD, *_columns(keys)))


async def read(connection: Connection, keys: Collection[BodyKey]) -> Texts:
    """The first 64 KiB of each body's JSON text."""
    rows = await connection.fetch(READ, *_columns(keys), PREFIX_BYTES)
    return {BodyKey(row[0], row[1]): row[2].decode(errors="ignore") for row in rows}


async def free(connection: Connection, keys: Collection[BodyKey]) -> list[BodyKey]:
    """Those of the bodies that no step of a run needs which is not deleted."""
    return [BodyKey(*row) for row in await connection.fetch(FREE, *_columns(keys))]


async def drop(connection: Connection, keys: Collection[BodyKey]) -> None:
    """Delete those of the bodies that nobody needs."""
    # A statement of its own: what others committed before they let the lock go must be seen by the next.
    await connection.execute(LOCK, *_columns(keys))
    await connection.execute(DROP, *_columns(keys))


def _columns(keys: Collection[BodyKey]) -> tuple[list[str], list[str]]:
    return [key.project for key in keys], [key.sha256 for key in keys]
