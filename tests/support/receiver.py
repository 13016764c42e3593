"""A small HTTP server that takes webhooks: keeps what arrives and answers what its script says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Received"], bytes | Awaitable[bytes]]


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, *, head: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


@dataclass
class Receiver:
    """`answer` may be replaced at any time; header names are in lower case."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer: Answer = lambda _: answer(204)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(first.split(" ")[1], headers, body)
            self.received.append(request)
            made = self.answer(request)
            writer.write(made if isinstance(made, bytes) else await made)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # the sender has left
        finally:
            self.at_once -= 1
            writer.close()


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
