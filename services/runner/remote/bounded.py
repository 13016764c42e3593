"""HTTP to an MCP server within bounds: the library reads an answer whole, however large or packed it is."""

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx2

from shared.public_http import PublicTransport

MOST_BYTES: Final = 4 * 1024 * 1024
SESSION_HEADER: Final = "mcp-session-id"
EVENTS: Final = "text/event-stream"


class BoundedTransport(PublicTransport):
    """`forgotten`: the server has said that it does not know the session any more."""

    forgotten = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is packed, which was not asked for")
        if response.status_code == httpx2.codes.NOT_FOUND and SESSION_HEADER in request.headers:
            self.forgotten = True
        # Of a stream of events the library bounds each, and the call's time limit their number.
        if not response.headers.get("content-type", "").lower().startswith(EVENTS):
            response.stream = _Bounded(cast(httpx2.AsyncByteStream, response.stream))
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.RemoteProtocolError(f"the answer is larger than {MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
