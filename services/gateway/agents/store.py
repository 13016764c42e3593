"""The SQL of agents, all of it: what changes them and what reads them. Every statement names the project.

Who changes an agent holds the project's lock until the end of the transaction: whether agents name each other
in a circle depends on several of them.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from services.gateway.agents.definition import AgentDefinition
from services.gateway.agents.version import AgentVersion, Reference
from shared.database import Connection

COLUMNS: Final = """
    a.id, a.name, a.version AS newest, a.archived_at, v.version, v.definition, v.created_at, v.created_by
"""
VERSIONS: Final = "agents AS a JOIN agent_versions AS v ON v.project = a.project AND v.name = a.name"
FIND: Final = f"""
    SELECT {COLUMNS}, w.version AS wanted
    FROM unnest($2::text[], $3::int[]) AS w (name, version)
    JOIN ({VERSIONS}) ON a.project = $1 AND a.name = w.name AND v.version = coalesce(w.version, a.version)
"""  # noqa: S608 - constants
LIST: Final = f"""
    SELECT {COLUMNS} FROM {VERSIONS} AND v.version = a.version
    WHERE a.project = $1 AND (a.archived_at IS NOT NULL) = $2 AND ($3::uuid IS NULL OR a.id < $3)
    ORDER BY a.id DESC LIMIT $4
"""  # noqa: S608 - constants
LIST_VERSIONS: Final = f"""
    SELECT {COLUMNS} FROM {VERSIONS}
    WHERE a.project = $1 AND a.name = $2 AND ($3::int IS NULL OR v.version < $3)
    ORDER BY v.version DESC LIMIT $4
"""  # noqa: S608 - constants
USERS: Final = f"""
    SELECT a.name FROM {VERSIONS} AND v.version = a.version
    WHERE a.project = $1 AND a.name <> $2 AND a.archived_at IS NULL AND EXISTS (
        SELECT FROM json_array_elements_text(v.definition -> 'handoffs') AS named
        WHERE split_part(named, '@', 1) = $2
        UNION ALL
        SELECT FROM json_array_elements_text(v.definition -> 'agents') AS named
        WHERE split_part(named, '@', 1) = $2
    ) ORDER BY a.name
"""  # noqa: S608 - constants
PUT: Final = """
    INSERT INTO agents (project, name, id, version) VALUES ($1, $2, $3, $4)
    ON CONFLICT (project, name) DO UPDATE SET id = $3, version = $4, archived_at = NULL
"""
ADD_VERSION: Final = """
    INSERT INTO agent_versions (project, name, version, definition, created_by) VALUES ($1, $2, $3, $4, $5)
    RETURNING created_at
"""


async def lock(connection: Connection, project: str) -> None:
    """Until the transaction ends, nobody else changes an agent of the project."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('agents'), hashtext($1))", project)


async def add(connection: Connection, project: str, agent: AgentVersion) -> AgentVersion:
    """The version as it is kept; it is the agent's newest from now on."""
    await connection.execute(PUT, project, agent.name, agent.id, agent.version)
    definition = agent.definition.model_dump_json()
    values = (project, agent.name, agent.version, definition, agent.created_by)
    created_at = await connection.fetchval(ADD_VERSION, *values)
    return replace(agent, created_at=created_at)


async def archive(connection: Connection, project: str, name: str) -> None:
    await connection.execute(
        "UPDATE agents SET archived_at = coalesce(archived_at, now()) WHERE project = $1 AND name = $2",
        project,
        name,
    )


async def find(
    connection: Connection, project: str, references: Collection[Reference]
) -> dict[Reference, AgentVersion]:
    """Those that there are, archived ones too."""
    wanted = list(references)
    names, versions = [each.name for each in wanted], [each.version for each in wanted]
    rows = await connection.fetch(FIND, project, names, versions)
    return {Reference(row["name"], row["wanted"]): _version(row) for row in rows}


async def page(
    connection: Connection, project: str, before: UUID | None, limit: int, *, archived: bool
) -> list[AgentVersion]:
    """The newest version of each agent, those created last first."""
    return [_version(row) for row in await connection.fetch(LIST, project, archived, before, limit)]


async def versions(
    connection: Connection, project: str, name: str, before: int | None, limit: int
) -> list[AgentVersion]:
    """Newest first."""
    return [_version(row) for row in await connection.fetch(LIST_VERSIONS, project, name, before, limit)]


async def users(connection: Connection, project: str, name: str) -> list[str]:
    """The agents whose newest version names this one."""
    return [row["name"] for row in await connection.fetch(USERS, project, name)]


def _version(row: Any) -> AgentVersion:
    # A version that a newer gateway has written may have fields that this one does not know.
    definition = AgentDefinition.model_validate_json(row["definition"], extra="ignore")
    return AgentVersion(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        definition=definition,
        newest=row["newest"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        archived_at=row["archived_at"],
    )
