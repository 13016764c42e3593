"""MCP servers for the rest of the runner, and the only door to the modules that import the library for them.

It is imported with the first question to a server, for it takes a third of the start and 15 MB, and
few runners ever ask one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue

from services.runner.remote.secrets import Secrets
from services.runner.remote.settings import StdioServer
from services.runner.tools.base import ToolContext
from shared.addresses import Server
from shared.catalog import McpListing
from shared.steps import ToolSpec

if TYPE_CHECKING:
    from services.runner.remote.servers import McpServers


@dataclass(frozen=True)
class ServerAddress:
    """An MCP server of a project; one of this runner's own (LOCAL) has no `url`."""

    project: str
    name: str
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Mcp:
    def __init__(self, secrets: Secrets, local: Mapping[str, StdioServer], allow: frozenset[Server]) -> None:
        self._given = (secrets, local, allow)
        self._servers: McpServers | None = None
        self._opening = asyncio.Lock()

    async def tools(self, server: ServerAddress) -> McpListing:
        """Within a bound. A server that does not answer as it should has an `error` and no tools."""
        return await (await self._open()).tools(server)

    async def call(self, spec: ToolSpec, arguments: dict[str, JsonValue], context: ToolContext) -> JsonValue:
        """What the tool answers. Raises ToolError."""
        return await (await self._open()).call(spec, arguments, context)

    async def close(self) -> None:
        if self._servers is not None:
            await self._servers.close()

    async def _open(self) -> McpServers:
        async with self._opening:
            if self._servers is None:
                self._servers = await asyncio.to_thread(self._imported)
            return self._servers

    def _imported(self) -> McpServers:
        from services.runner.remote.servers import McpServers
        from services.runner.remote.sessions import Sessions

        return McpServers(Sessions(*self._given))
