"""Around every request: metrics, a log line, security headers. Never a key, a body or a query string."""

import logging
from time import perf_counter
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.metrics import REQUESTS, SECONDS
from services.gateway.problems import Problem
from shared.steps import RunId

log = structlog.get_logger(__name__)
_level = logging.getLogger(__name__)
_run_id: TypeAdapter[str] = TypeAdapter(RunId)

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
RESPONSE_START: Final = frozenset({"http.response.start", "websocket.http.response.start"})
DOCS_PATH: Final = "/docs"
# Everything comes from here. Swagger UI sets styles on its elements, so those may be inline; scripts may not.
DOCS_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Boundary:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in RESPONSE_START:
                status = message["status"]
                _add_headers(message, scope["path"])
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            _measure(scope, status, perf_counter() - started)


def _add_headers(message: Message, path: str) -> None:
    headers = MutableHeaders(raw=message["headers"])
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if path == DOCS_PATH:
        headers["Content-Security-Policy"] = DOCS_POLICY


def _measure(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "other")
    method = scope.get("method", "WS") if route != "other" else "any"
    REQUESTS.labels(route, method, status).inc()
    if not scope.get("is_stream") and method != "WS":
        SECONDS.labels(route, method).observe(seconds)
    level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
    if _level.isEnabledFor(level):
        log.log(level, "request", route=route, status=status, ms=round(seconds * 1000, 1), **_details(scope))


def _details(scope: Scope) -> dict[str, str | None]:
    """Who asked for which run, and what was wrong; of a refusal only its kind, for it names what was sent."""
    run_id = scope.get("run_id") or scope.get("path_params", {}).get("run_id")
    problem: Problem | None = scope.get("problem")
    return {
        "method": scope.get("method", "WS"),
        "project": scope.get("project"),
        "run_id": _valid(run_id),
        "problem": problem.kind.name if problem else None,
        "why": problem.detail if problem and problem.kind.status >= 500 else None,
    }


def _valid(run_id: object) -> str | None:
    """What a client wrote where a run's id belongs may be anything, its key too."""
    try:
        return _run_id.validate_python(run_id)
    except ValidationError:
        return None
