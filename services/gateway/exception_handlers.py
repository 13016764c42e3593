"""Which exception becomes which problem; the only place where that is decided."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from services.gateway.metrics import REJECTED
from services.gateway.problems import (
    INTERNAL,
    INVALID,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    Problem,
    away,
    unavailable,
)
from services.gateway.validation import invalid_input
from shared.errors import Conflict, Permanent, Unavailable


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    app.state.routers = routers
    handlers: dict[Any, Any] = {
        Problem: _problem,
        RequestValidationError: _invalid,
        HTTPException: _routing,
        Unavailable: _unavailable,
        Conflict: _conflict,
        Permanent: _permanent,
        ClientDisconnect: _disconnected,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _problem(request: Request, problem: Problem) -> Response:
    REJECTED.labels(problem.kind.name).inc()
    request.scope["problem"] = problem
    return problem.response()


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    return await _problem(request, invalid_input(error.errors(), skip=1))


async def _routing(request: Request, error: HTTPException) -> Response:
    path = request.url.path[:100]
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        detail = f"{request.method} is not allowed at {path}; use {allowed}"
        problem = Problem(METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    elif error.status_code == 404:
        problem = Problem(NOT_FOUND, f"there is nothing at {path}; GET /openapi.json lists what there is")
    else:
        problem = Problem(INVALID, str(error.detail), headers=error.headers)
    return await _problem(request, problem)


def _methods(request: Request) -> set[str]:
    """What is allowed at the path, by all of its routes: each of them knows only of itself."""
    methods: set[str] = set()
    for route in (route for router in request.app.state.routers for route in router.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods


async def _unavailable(request: Request, error: Unavailable) -> Response:
    return await _problem(request, away(error))


async def _conflict(request: Request, error: Conflict) -> Response:
    return await _problem(request, unavailable(f"{error}; try again"))


async def _permanent(request: Request, error: Permanent) -> Response:
    return await _problem(request, Problem(INVALID, str(error)))


async def _disconnected(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=499)  # nobody reads it; for the metrics and the log


async def _unexpected(request: Request, error: Exception) -> Response:
    # The server logs the exception itself; its text stays here, for it may hold anything.
    return await _problem(
        request, Problem(INTERNAL, "an unexpected error was logged; the request may be repeated")
    )
