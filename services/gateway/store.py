"""What the gateway writes: projects and API keys. The caller opens the transaction."""

from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection


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
