"""A provider on the loopback that answers each request with the next of its scripted answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Scripted:
    """One answer. `parts` are sent one after the other; then the connection is closed, or held for ever."""

    parts: Sequence[bytes] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "text/event-stream"
    hang: bool = False
    whole: bool = True  # False: the connection breaks off in the middle of the chunked body


@dataclass
class Provider:
    answers: Sequence[Scripted]
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    left_early: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(v) for k, v in _headers(head) if k == "content-length"), 0)
            body = await reader.readexactly(length)
            self.requests.append(json.loads(body) if body else {})
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            await self._answer(answer, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left_early += 1
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, answer: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}"]
        lines += [f"Content-Type: {answer.content_type}", "Transfer-Encoding: chunked", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for part in filter(None, answer.parts):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if answer.hang:
            await reader.read()  # until the client has had enough
            self.left_early += 1
        elif answer.whole:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


def _headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines if ":" in line)]


@asynccontextmanager
async def provider(*answers: Scripted) -> AsyncIterator[Provider]:
    made = Provider(answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=1024)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def chunk(
    delta: dict[str, Any] | None = None, *, finish: str | None = None, usage: dict[str, Any] | None = None
) -> bytes:
    """One event of a streamed chat completion."""
    body: dict[str, Any] = {
        "id": "cmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "mistral-large-2411",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
    }
    if usage is not None:
        body["usage"] = usage
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def text_answer(*pieces: str, usage: dict[str, Any] | None = None) -> Scripted:
    parts = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
    return Scripted([*parts, chunk(finish="stop", usage=usage or USAGE), DONE])


def tool_delta(index: int | None, id_: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    call: dict[str, Any] = {"type": "function", "function": function}
    call |= {"index": index} if index is not None else {}
    call |= {"id": id_} if id_ is not None else {}
    return {"tool_calls": [call]}


def tool_answer(*deltas: dict[str, Any]) -> Scripted:
    return Scripted([*(chunk(delta) for delta in deltas), chunk(finish="tool_calls", usage=USAGE), DONE])


def error_answer(status: int, body: Any, **headers: str) -> Scripted:
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Scripted([raw], status=status, headers=given, content_type="application/json")
