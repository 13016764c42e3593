"""Wiring only. Run: uvicorn --factory services.simulator.app:make_app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from services.simulator import error_responses
from services.simulator.asgi import Observed
from services.simulator.faults.ledger import Ledger
from services.simulator.pace import LatencyScale
from services.simulator.routes import admin, chat, embeddings, models, operations
from services.simulator.settings import Settings
from services.simulator.state import State
from shared.logging import configure_logging
from shared.scrub import Scrubber

log = structlog.get_logger(__name__)


def make_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        configure_logging("simulator", settings.log_level, Scrubber())
        log.info("service starts", latency_scale=settings.simulator_latency_scale)
        yield
        log.info("service stops")

    app = FastAPI(title="Mistral API simulator", lifespan=lifespan)
    ledger = Ledger(settings.simulator_fault_memory, settings.simulator_fault_ttl_s)
    app.state.simulator = State(settings, ledger, LatencyScale(settings.simulator_latency_scale))
    for module in (chat, models, embeddings, admin, operations):
        app.include_router(module.router)
    app.add_middleware(Observed)
    error_responses.install(app)
    return app
