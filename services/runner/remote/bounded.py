"""HTTP to an MCP server within bounds: the library reads an answer whole, however large or packed it is."""

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx2

from shared.public_http import PublicTransport

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_EVENTS: Final = 1000
"""Of one answer. A server may send requests of its own among them, and the library answers each."""
EVENT: Final = b"\ndata"
SESSION_HEADER: Final = "mcp-session-id"
EVENTS: Final = "text/event-stream"


class BoundedTransport(PublicTransport):
    """`forgotten`: the server has said that it does not know the session any more."""

    forgotten = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":  # a stream without an end, on which the server may ask for anything
            return httpx2.Response(httpx2.codes.METHOD_NOT_ALLOWED, request=request)
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is packed, which was not asked for")
        if response.status_code == httpx2.codes.NOT_FOUND and SESSION_HEADER in request.headers:
            self.forgotten = True
        is_stream = response.headers.get("content-type", "").lower().startswith(EVENTS)
        most_events = MOST_EVENTS if is_stream else None
        response.stream = _Bounded(cast(httpx2.AsyncByteStream, response.stream), most_events)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_events: int | None) -> None:
        self._stream = stream
        self._most_events = most_events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left, events, end = MOST_BYTES, 0, b"\n"
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.RemoteProtocolError(f"the answer is larger than {MOST_BYTES} bytes")
            if self._most_events is not None:
                seen = end + chunk.replace(b"\r", b"\n")  # a line may end in either
                events, end = events + seen.count(EVENT), seen[1 - len(EVENT) :]
                if events > self._most_events:
                    raise httpx2.RemoteProtocolError(f"the answer has more than {MOST_EVENTS} events")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
