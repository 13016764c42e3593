"""A client that costs the machine little: HTTP/1.1 over kept-alive connections, no parsing beyond need.

The load generator shares the two cores with what it measures, so a comfortable client would be measured too.
"""

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class LoadClient:
    """One connection; requests go one after the other."""

    def __init__(self, base_url: str, api_key: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = (
            f"Host: {self._host}:{self._port}\r\nAuthorization: Bearer {api_key}\r\n"
            "Content-Type: application/json\r\n"
        )

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._host, self._port, limit=16 * 1024 * 1024
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        return await self._exchange("POST", path, json.dumps(body).encode())

    async def get(self, path: str) -> tuple[int, Any]:
        return await self._exchange("GET", path, b"")

    async def events(self, path: str) -> asyncio.StreamReader:
        """Begin an event stream on this connection; the reader yields its (chunked) lines."""
        await self._send("GET", path, b"")
        await self._reader.readuntil(b"\r\n\r\n")
        return self._reader

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        await self._send(method, path, body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
        return status, json.loads(await self._reader.readexactly(length))

    async def _send(self, method: str, path: str, body: bytes) -> None:
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()
