"""The server's HTTP/1.1 protocol with bounds on what a client may send before it has sent a request.

Uvicorn's fast protocol keeps headers without a limit and waits for ever for a request's first byte: a
client without a key could fill the memory or hold every connection. The server is given this one with
`--http shared.http_protocol:BoundedProtocol`.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 64 * 1024
HEADERS: Final = 100
HEAD_S: Final = 10.0


class HeadTooLarge(Exception):
    """Raised inside the parser, which makes it a 400 and the end of the connection."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request head is too large or does not come in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # the server's transports can write
        self._deadline = self.loop.call_later(HEAD_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._deadline is None:  # a kept-alive connection's next request
            self._deadline = self.loop.call_later(HEAD_S, self.transport.close)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > HEADERS:
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        self._in_time()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise HeadTooLarge

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
