"""What a client without a key can make a service keep: a bounded request head, for a bounded time."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

import shared.http_protocol
from shared.http_protocol import HEAD_BYTES, HEADERS, BoundedProtocol
from tests.support.waiting import eventually


async def _hello(scope: dict[str, object], receive: object, send: object) -> None:
    assert callable(send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        config = uvicorn.Config(_hello, http=BoundedProtocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(lambda: server.started)
            yield port
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, 10)


async def _answer(port: int, *parts: bytes, end: bool = True) -> bytes:
    """What came back, empty when the connection was ended without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for part in parts:
            writer.write(part)
        if end:
            writer.write(b"Connection: close\r\n\r\n")
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_an_ordinary_request_is_answered() -> None:
    async with served() as port:
        assert b"200 OK" in await _answer(port, b"Authorization: Bearer " + b"k" * 1000 + b"\r\n")


@pytest.mark.parametrize(
    "head",
    [b"x: " + b"y" * (HEAD_BYTES + 1) + b"\r\n", b"".join(b"h%d: v\r\n" % n for n in range(HEADERS + 1))],
    ids=["one large header", "many small headers"],
)
async def test_a_head_beyond_the_limit_ends_the_connection(head: bytes) -> None:
    async with served() as port:
        assert b"400 Bad Request" in await _answer(port, head)
        assert b"200 OK" in await _answer(port)


async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.http_protocol, "HEAD_S", 0.2)
    async with served() as port:
        assert await _answer(port, end=False) == b""


async def test_a_second_request_on_the_connection_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.http_protocol, "HEAD_S", 0.3)
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            assert b"200 OK" in await reader.readuntil(b"ok")
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert await reader.read() == b""
        writer.close()
