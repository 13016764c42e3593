"""Around every request: its id, its time and status, a bound on its body, waiting while it is wanted.

Plain ASGI, for speed.
"""

import asyncio
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.simulator import errors
from services.simulator.metrics import REQUESTS, SECONDS


class Observed:
    """Counts requests by the pattern of their route and gives each response a correlation id.

    One without an answer, because the simulator itself failed, counts as 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                identifier = uuid4().hex.encode()
                message["headers"] = [*message["headers"], (b"mistral-correlation-id", identifier)]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            route = _pattern(scope)
            REQUESTS.labels(route, status).inc()
            SECONDS.labels(route).observe(perf_counter() - started)


def _pattern(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unmatched"))


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes of it: 413 as soon as it is known to be larger."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise errors.too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise errors.too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def pause(request: Request, seconds: float) -> None:
    """Wait while the caller does: a caller who hangs up ends it (499), and so the stop of the service
    is not held up by requests that nobody waits for. The body must have been read."""
    if seconds <= 0.0:
        return
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                continue
    except TimeoutError:
        return
    raise errors.client_gone()
