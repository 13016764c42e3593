"""Changing what a project has configured of tools: kept in Postgres, told to gateways and runners on the bus.

A change is told first and committed then, under the project's lock: whoever breaks off in between leaves a
bus that knows more than the table, and `keep_told` puts that right.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID, uuid4

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.gateway.catalog import Catalog
from services.gateway.problems import NOT_FOUND, Kind, Problem, invalid, unavailable
from services.gateway.reads import answered
from services.gateway.tools import store
from services.gateway.tools.store import Entry
from shared.bus import CATALOG, jetstream
from shared.catalog import HttpTool, McpServer, ProjectTools, ToolOverride
from shared.database import Connection, Database
from shared.errors import Unavailable
from shared.subjects import project_tools_subject

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

TOOL_EXISTS: Final = Kind("tool-exists", 409, "There is a tool or server of that name")
MOST: Final[dict[store.Kind, int]] = {"http": 100, "mcp": 20, "override": 1000}
MOST_BYTES: Final = 768 * 1024  # of all together: the broker takes messages of a mebibyte
PATIENCE_S: Final = 5.0
TOLD_S: Final = 300.0
RETRY_S: Final = 5.0


class ToolBook:
    """Methods raise Problem and Unavailable."""

    def __init__(self, database: Database, client: Client, catalog: Catalog) -> None:
        self._database = database
        self._js = jetstream(client)
        self._catalog = catalog

    async def add(self, project: str, entry_id: UUID, thing: HttpTool | McpServer) -> bool:
        """Keep a tool or server. False when it was there already with that id. Raises Problem (409)."""
        kind: store.Kind = "http" if isinstance(thing, HttpTool) else "mcp"

        async def write(connection: Connection, there: Sequence[Entry]) -> bool:
            known = next((each for each in there if (each.kind, each.name) == (kind, thing.name)), None)
            if known is not None and known.id == entry_id:
                return False
            if known is not None:
                raise exists(thing.name)
            await _put(connection, project, there, Entry(kind, thing.name, entry_id, thing.model_dump_json()))
            return True

        return await self._change(project, write)

    async def change_server(
        self, project: str, name: str, change: Callable[[McpServer], Awaitable[McpServer]]
    ) -> None:
        """Raises Problem (404)."""

        async def write(connection: Connection, there: Sequence[Entry]) -> None:
            known = next((each for each in there if (each.kind, each.name) == ("mcp", name)), None)
            if known is None:
                raise no_such_server(name)
            made = (await change(McpServer.model_validate_json(known.definition))).model_dump_json()
            await _put(connection, project, there, Entry("mcp", name, known.id, made))

        await self._change(project, write)

    async def override(self, project: str, name: str, values: dict[str, object]) -> None:
        """Say this of a tool that there is; None: as the tool itself has it."""

        async def write(connection: Connection, there: Sequence[Entry]) -> None:
            known = next((each for each in there if (each.kind, each.name) == ("override", name)), None)
            before = ToolOverride.model_validate_json(known.definition if known else "{}")
            made = ToolOverride.model_validate({**before.model_dump(), **values})
            if made == ToolOverride():
                await store.remove(connection, project, "override", name)
            else:
                entry = Entry("override", name, uuid4(), made.model_dump_json())
                await _put(connection, project, there, entry)

        await self._change(project, write)

    async def remove(self, project: str, kind: store.Kind, name: str) -> bool:
        """With what is said of the tool. False when it is not there."""

        async def write(connection: Connection, _: Sequence[Entry]) -> bool:
            if not await store.remove(connection, project, kind, name):
                return False
            if kind == "http":
                await store.remove(connection, project, "override", name)
            return True

        return await self._change(project, write)

    async def keep_told(self) -> None:
        """Until cancelled: a bus that lost what it was told, or was told what then was not kept, is told."""
        while True:
            try:
                for project in await answered(self._database, store.projects):
                    await self._change(project, _nothing)
                pause = TOLD_S
            except (Unavailable, Problem) as error:
                log.warning("what projects have configured is not told again", error=str(error))
                pause = RETRY_S
            await asyncio.sleep(pause)

    async def _change(
        self, project: str, write: Callable[[Connection, Sequence[Entry]], Awaitable[Result]]
    ) -> Result:
        async def alone(connection: Connection) -> tuple[Result, ProjectTools]:
            async with connection.transaction():
                await store.lock(connection, project)
                result = await write(connection, await store.entries(connection, project))
                made = configured(await store.entries(connection, project))
                await self._tell(project, made)
                return result, made

        result, made = await answered(self._database, alone, PATIENCE_S)
        self._catalog.know(project, made)
        return result

    async def _tell(self, project: str, made: ProjectTools) -> None:
        text = made.model_dump_json().encode()
        if len(text) > MOST_BYTES:
            raise invalid("body", f"all that a project says of tools takes at most {MOST_BYTES} bytes")
        try:
            await self._js.publish(project_tools_subject(project), text, stream=CATALOG)
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("a change of tools was not told", project=project, error=str(error))
            raise unavailable("the broker does not take the change; nothing was changed: try again") from None


def configured(entries: Sequence[Entry]) -> ProjectTools:
    """What the rows come to."""
    kinds: dict[str, dict[str, str]] = {"override": {}, "http": {}, "mcp": {}}
    for entry in entries:
        kinds[entry.kind][entry.name] = entry.definition
    return ProjectTools(
        overrides={name: ToolOverride.model_validate_json(text) for name, text in kinds["override"].items()},
        http=tuple(map(HttpTool.model_validate_json, kinds["http"].values())),
        mcp=tuple(map(McpServer.model_validate_json, kinds["mcp"].values())),
    )


async def _put(connection: Connection, project: str, there: Sequence[Entry], entry: Entry) -> None:
    others = sum(each.kind == entry.kind and each.name != entry.name for each in there)
    if others >= MOST[entry.kind]:
        raise invalid("name", f"this project has {others} of them, which is the most; delete one first")
    await store.put(connection, project, entry)


async def _nothing(connection: Connection, there: Sequence[Entry]) -> None:
    """Changes nothing, so that only the bus may change."""


def exists(name: str) -> Problem:
    return Problem(TOOL_EXISTS, f"{name!r} is there already; choose another name, or delete it first")


def no_such_tool(name: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no tool {name[:64]!r}; GET /api/tools lists them")


def no_such_server(name: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no MCP server {name[:64]!r}; GET /api/mcp-servers lists them")
