"""Wiring only. Run: uvicorn --factory services.gateway.app:make_app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.gateway import exception_handlers, openapi
from services.gateway.boundary import Boundary
from services.gateway.idempotency import HEADER, REPLAYED_HEADER
from services.gateway.parts import assembled
from services.gateway.routes import (
    access,
    agents,
    artifacts,
    batches,
    bundles,
    catalog,
    chat,
    chat_socket,
    diff,
    events,
    groups,
    mcp_servers,
    replays,
    runs,
    schedules,
    sessions,
    simple,
    steering,
    tools,
    webhooks,
)
from services.gateway.settings import GatewaySettings
from shared.service import make_runtime, operations, running


def make_app() -> FastAPI:
    """The gateway as an ASGI application; connects when it starts."""
    settings = GatewaySettings()
    runtime = make_runtime("gateway", settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(runtime), runtime.broker, assembled(settings, runtime) as parts:
            app.state.parts = parts
            runtime.started = True
            yield
            runtime.stopping.set()

    app = FastAPI(
        title="AgentOps Studio",
        version=openapi.VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    modules = (
        *(batches, runs, replays, diff, steering, events, artifacts, bundles),
        *(sessions, chat, chat_socket),
        *(agents, groups, schedules, webhooks, tools, mcp_servers, catalog, access, simple),
    )
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    for path, handler in operations(runtime).items():
        app.add_route(path, handler, include_in_schema=False)
    exception_handlers.install(app, routers)
    openapi.install(app)
    app.add_middleware(Boundary)
    if settings.gateway_allowed_origins:
        _allow_pages(app, settings.gateway_allowed_origins)
    return app


def _allow_pages(app: FastAPI, origins: tuple[str, ...]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "X-API-Key", "Content-Type", "Last-Event-ID", "If-Match", HEADER],
        expose_headers=["Location", "ETag", "Retry-After", REPLAYED_HEADER],
    )
