"""The sessions with MCP servers: one for each, kept while it is used, opened again when it was lost."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Final, TypeVar

import httpx2
from mcp import Client, MCPError
from pydantic import ValidationError

from services.runner.remote.bounded import BoundedTransport
from services.runner.remote.mcp import ServerAddress
from services.runner.remote.secrets import Secrets
from services.runner.remote.session import Session, SessionLost, over_http, over_stdio
from services.runner.remote.settings import StdioServer
from services.runner.tools.base import ToolError
from shared.addresses import Server
from shared.catalog import LOCAL

Answer = TypeVar("Answer")
IDLE_S: Final = 300.0
MOST: Final = 128
SHOWN: Final = 2000
UNKNOWN: Final = "whether it did what it was asked is unknown"


class Sessions:
    def __init__(
        self, secrets: Secrets, local: Mapping[str, StdioServer], allow: frozenset[Server] = frozenset()
    ) -> None:
        self._secrets = secrets
        self._local = local
        self._allow = allow
        self._sessions: dict[ServerAddress, Session] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        server: ServerAddress,
        request: Callable[[Client], Awaitable[Answer]],
        *,
        repeatable: bool,
    ) -> Answer:
        """What the server answers. Raises ToolError in words for the model.

        A request that was certainly not carried out is sent once more over a new session, a `repeatable` one
        also when that is not known.
        """
        try:
            return await self._try(server, request)
        except SessionLost as lost:
            if lost.acted and not repeatable:
                raise ToolError(f"The MCP server {server.name} was lost ({lost}); {UNKNOWN}.") from None
        try:
            return await self._try(server, request)
        except SessionLost as lost:
            raise ToolError(f"The MCP server {server.name} is down: {lost}.") from None

    async def close(self) -> None:
        for server in list(self._sessions):
            self._leave(server)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _try(self, server: ServerAddress, request: Callable[[Client], Awaitable[Answer]]) -> Answer:
        session = self._session(server)
        try:
            return await session.ask(request)
        except SessionLost:
            if self._sessions.get(server) is session:
                self._leave(server)
            raise
        except MCPError as error:
            words = f"The MCP server {server.name} refused: {error.message[:SHOWN]}"
            raise ToolError(words) from None
        except ValidationError:
            raise ToolError(f"The MCP server {server.name} broke the rules of the protocol.") from None

    def _session(self, server: ServerAddress) -> Session:
        session = self._sessions.pop(server, None) or self._opened(server)
        self._sessions[server] = session  # the one used last is at the end
        idle = [each for each, kept in self._sessions.items() if not kept.asking]
        for each in idle:
            long_idle = monotonic() - self._sessions[each].used_at > IDLE_S
            if each != server and (long_idle or len(self._sessions) > MOST):
                self._leave(each)
        return session

    def _opened(self, server: ServerAddress) -> Session:
        """Raises ToolError when a secret may not be sent there."""
        if server.project == LOCAL:
            local = self._local.get(server.name)
            if local is None:
                raise ToolError(f"This runner has no MCP server {server.name}; go on without it.")
            env = self._secrets.fill(local.env, LOCAL, "")
            return Session(lambda: over_stdio(local, env))
        headers = self._secrets.fill(dict(server.headers), server.project, httpx2.URL(server.url).host)
        transport = BoundedTransport(self._allow)
        return Session(
            lambda: over_http(server.url, headers, transport), is_forgotten=lambda: transport.forgotten
        )

    def _leave(self, server: ServerAddress) -> None:
        """Close the session beside what goes on."""
        task = asyncio.create_task(self._sessions.pop(server).close(), name="leave an mcp session")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
