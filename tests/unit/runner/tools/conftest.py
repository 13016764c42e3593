"""Local servers that answer whatever a test makes them answer, and the context of a call."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from services.runner.tools.base import ToolContext

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class LocalServer:
    """A real HTTP server on the loopback; `heads` and `bodies` are the requests it got."""

    answer: Answer
    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            self.bodies.append(await reader.readexactly(int(length[1])) if length else b"")
            await self.answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closed_by_client.set()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


ServerStarter = Callable[[Answer], Awaitable[LocalServer]]


@pytest.fixture
async def start_server() -> AsyncIterator[ServerStarter]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(answer: Answer) -> LocalServer:
            local = LocalServer(answer)
            server = await asyncio.start_server(local.serve, "127.0.0.1", 0)
            local.port = server.sockets[0].getsockname()[1]
            await stack.enter_async_context(server)
            return local

        yield start


def new_context(session_id: str | None = "s1", key: str | None = None) -> ToolContext:
    return ToolContext(
        project="default",
        run_id="0199c0de-0000-7000-8000-000000000001",
        session_id=session_id,
        call_id="call-1",
        idempotency_key=key or uuid.uuid4().hex,
    )


@pytest.fixture
def context() -> ToolContext:
    return new_context()


@pytest.fixture
def contexts() -> Callable[..., ToolContext]:
    """Contexts of other sessions or repeated calls: `contexts(session_id=..., key=...)`."""
    return new_context
