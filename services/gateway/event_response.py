"""An open event stream as an ASGI response: it writes, notices when the client leaves, and never waits
for a client that stopped reading."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.event_buffer import EventBuffer
from services.gateway.streams import Place

log = structlog.get_logger(__name__)

SEND_TIMEOUT_S: Final = 20.0
HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class EventResponse(Response):
    """Sends `frames` until they end, the client leaves, or it takes nothing for SEND_TIMEOUT_S.

    Then it gives its `place` back.
    """

    def __init__(self, frames: AsyncGenerator[bytes], buffer: EventBuffer, place: Place) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._buffer = buffer
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await self._send_until_left(receive, send)

    async def _send_until_left(self, receive: Receive, send: Send) -> None:
        sender = asyncio.create_task(self._send_all(send), name="send events")
        leaving = asyncio.create_task(_left(receive), name="watch an event client")
        try:
            await asyncio.wait({sender, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            leaving.cancel()
            results = await asyncio.gather(sender, leaving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                try:
                    await self._send(send, frame)
                except TimeoutError:
                    log.info("an event client stopped reading")
                    return  # the server closes the connection of a response without an end
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, frame: bytes) -> None:
        self._buffer.is_sending = True
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            self._buffer.is_sending = False


async def _left(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
