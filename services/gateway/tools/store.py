"""The SQL of what a project has configured of tools, all of it. Every statement but one names the project.

Who changes something holds the project's lock until the end of the transaction.
"""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from shared.database import Connection

Kind = Literal["override", "http", "mcp"]
ENTRIES: Final = "SELECT kind, name, id, definition FROM project_tools WHERE project = $1 ORDER BY kind, name"
PUT: Final = """
    INSERT INTO project_tools (project, kind, name, id, definition) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (project, kind, name) DO UPDATE SET definition = $5
"""
REMOVE: Final = "DELETE FROM project_tools WHERE project = $1 AND kind = $2 AND name = $3"


@dataclass(frozen=True)
class Entry:
    """An HTTP tool, an MCP server, or what is said of a tool; `definition` is its JSON."""

    kind: Kind
    name: str
    id: UUID
    definition: str


async def lock(connection: Connection, project: str) -> None:
    """Until the transaction ends, nobody else changes what the project has configured."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('project_tools'), hashtext($1))", project)


async def entries(connection: Connection, project: str) -> list[Entry]:
    rows = await connection.fetch(ENTRIES, project)
    return [Entry(row["kind"], row["name"], row["id"], row["definition"]) for row in rows]


async def put(connection: Connection, project: str, entry: Entry) -> None:
    """Also in place of what was there under that name."""
    await connection.execute(PUT, project, entry.kind, entry.name, entry.id, entry.definition)


async def remove(connection: Connection, project: str, kind: Kind, name: str) -> bool:
    """False when it is not there."""
    return await connection.execute(REMOVE, project, kind, name) != "DELETE 0"


async def projects(connection: Connection) -> list[str]:
    """Those that have configured anything."""
    return [row["project"] for row in await connection.fetch("SELECT DISTINCT project FROM project_tools")]
