"""What the gateway writes: projects, API keys, deletions. The caller opens the transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.database import Connection
from shared.subjects import RunKey

ADD_DEPENDENTS: Final = """
    INSERT INTO deletions (run_id, project, who)
    SELECT run_id, project, $3 FROM runs WHERE project = $1 AND deleted_at IS NULL
    AND (parent_run_id = $2 OR (source_run_id = $2 AND replay ->> 'mode' = 'verify'))
    ON CONFLICT DO NOTHING
"""
CLAIM_DELETIONS: Final = """
    UPDATE deletions SET tries = tries + 1, due_at = now() + $1 WHERE run_id IN (
        SELECT run_id FROM deletions WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING run_id, project, who, tries
"""


@dataclass(frozen=True)
class KeyRow:
    """An API key as the database knows it."""

    id: str
    project: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None


async def ensure_project(connection: Connection, name: str) -> None:
    """Create the project unless it is there."""
    await connection.execute("INSERT INTO projects (name) VALUES ($1) ON CONFLICT DO NOTHING", name)


async def add_key(connection: Connection, row: KeyRow) -> None:
    await connection.execute(
        "INSERT INTO api_keys (id, project, name, digest, scopes, expires_at) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        row.id,
        row.project,
        row.name,
        row.digest,
        sorted(row.scopes),
        row.expires_at,
    )


async def find_key(connection: Connection, key_id: str) -> KeyRow | None:
    row = await connection.fetchrow(
        "SELECT id, project, name, digest, scopes, expires_at, revoked_at FROM api_keys WHERE id = $1", key_id
    )
    if row is None:
        return None
    return KeyRow(
        id=row["id"],
        project=row["project"],
        name=row["name"],
        digest=row["digest"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


@dataclass(frozen=True)
class DeletionRow:
    """A run to be erased, on whose behalf, and how often that was begun, this time included."""

    run: RunKey
    who: str
    tries: int


async def add_deletion(connection: Connection, run: RunKey, who: str) -> bool:
    """False when the run is being deleted already."""
    added = await connection.execute(
        "INSERT INTO deletions (run_id, project, who) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        UUID(run.run_id),
        run.project,
        who,
    )
    return added != "INSERT 0 0"


async def claim_deletions(connection: Connection, most: int, lease: timedelta) -> list[DeletionRow]:
    """Those that are due; nobody else gets them before the lease is over."""
    rows = await connection.fetch(CLAIM_DELETIONS, lease, most)
    return [DeletionRow(RunKey(row["project"], str(row["run_id"])), row["who"], row["tries"]) for row in rows]


async def postpone_deletion(connection: Connection, run: RunKey, pause: timedelta) -> None:
    await connection.execute(
        "UPDATE deletions SET due_at = now() + $2 WHERE run_id = $1", UUID(run.run_id), pause
    )


async def end_deletion(connection: Connection, run: RunKey, who: str) -> None:
    """The run is erased; now those go that answered its calls."""
    await connection.execute(ADD_DEPENDENTS, run.project, UUID(run.run_id), who)
    await connection.execute("DELETE FROM deletions WHERE run_id = $1", UUID(run.run_id))


async def is_being_deleted(connection: Connection, run: RunKey) -> bool:
    return bool(
        await connection.fetchval("SELECT EXISTS (SELECT FROM deletions WHERE run_id = $1)", UUID(run.run_id))
    )
