"""One session with an MCP server. Which there are, and when one is opened again, is in `sessions`."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, Implementation

from services.runner.remote.bounded import BoundedTransport
from services.runner.remote.settings import StdioServer
from shared.public_http import AddressRefused

Answer = TypeVar("Answer")
Opened = Callable[[], AbstractAsyncContextManager[Client]]
OPEN_S: Final = 10.0
CLOSE_S: Final = 3.0
REASON_S: Final = 0.5  # the news that a connection is closed comes before the reason
STREAM_IDLE_S: Final = 300.0
ITSELF: Final = Implementation(name="agentops-studio", version="1")


class SessionLost(Exception):
    """The server is away, or has forgotten the session. `acted`: it may have done what it was asked for."""

    def __init__(self, why: str, *, acted: bool) -> None:
        super().__init__(why)
        self.acted = acted


class Session:
    """Kept by a task of its own, since the library's client must be left where it was entered."""

    def __init__(self, opened: Opened, is_forgotten: Callable[[], bool] = lambda: False) -> None:
        self._opened = opened
        self._is_forgotten = is_forgotten
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._why, self._unsent = "", False
        self._task = asyncio.create_task(self._keep(), name="mcp session")
        self.used_at = monotonic()
        self.asking = 0

    async def ask(self, request: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Raises SessionLost, the library's MCPError and ValidationError."""
        self.used_at = monotonic()
        self.asking += 1
        try:
            client = await self._ready()
            return await self._asked(client, request)
        finally:
            self.asking -= 1

    async def close(self) -> None:
        self._closing.set()
        await asyncio.wait({self._task}, timeout=CLOSE_S)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_S)

    async def _ready(self) -> Client:
        either: set[asyncio.Future[Any]] = {self._client, self._task}
        await asyncio.wait(either, timeout=OPEN_S, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            raise SessionLost(self._why or "the session was closed", acted=False)
        if not self._client.done():
            self._task.cancel()
            raise SessionLost(f"it did not open a session within {OPEN_S:g} seconds", acted=False)
        return self._client.result()

    async def _asked(self, client: Client, request: Callable[[Client], Awaitable[Answer]]) -> Answer:
        asking = asyncio.ensure_future(request(client))
        try:
            await asyncio.wait({asking, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise self._lost()
            return asking.result()
        except MCPError as error:
            if self._is_forgotten():
                raise SessionLost("it has forgotten the session", acted=False) from error
            if error.code == CONNECTION_CLOSED:
                await asyncio.wait({self._task}, timeout=REASON_S)
                raise self._lost() from error
            raise
        finally:
            asking.cancel()

    async def _keep(self) -> None:
        try:
            async with self._opened() as client:
                self._client.set_result(client)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - library and server fail in many ways; whoever asks is told
            first = _first_in(error)
            self._why, self._unsent = _words(first), isinstance(first, httpx2.ConnectError)

    def _lost(self) -> SessionLost:
        # One request that could not connect ends the session of all: only when it was alone was nothing sent.
        acted = not (self._unsent and self.asking == 1)
        return SessionLost(self._why or "the connection broke", acted=acted)


@asynccontextmanager
async def over_http(
    url: str, headers: Mapping[str, str], transport: BoundedTransport
) -> AsyncIterator[Client]:
    timeout = httpx2.Timeout(OPEN_S, read=STREAM_IDLE_S)
    async with (
        httpx2.AsyncClient(
            transport=transport,
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=timeout,
            trust_env=False,
        ) as http,
        Client(streamable_http_client(url, http_client=http), client_info=ITSELF, cache=None) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(server: StdioServer, env: Mapping[str, str]) -> AsyncIterator[Client]:
    """The server as a child process; what it writes to its standard error is nobody's log."""
    parameters = StdioServerParameters(command=server.command, args=list(server.args), env=dict(env))
    with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230 - the null device never blocks
        async with Client(stdio_client(parameters, errlog=nowhere), client_info=ITSELF, cache=None) as client:
            yield client


def _first_in(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    """Its kind only: the messages of a library may quote headers."""
    if isinstance(error, AddressRefused):
        return "it is not a public server"
    if isinstance(error, MCPError):
        return f"it refused the session: {error.message[:200]}"
    return f"it cannot be reached ({type(error).__name__})"
