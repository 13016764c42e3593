"""Wiring only. Run: uvicorn --factory services.cost.app:make_app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.asgi import AsgiFastStream

from services.cost.charges import BILLABLE
from services.cost.handlers import Accountant
from services.cost.settings import Settings
from shared.bus import COST
from shared.database import Database
from shared.price_book import PriceBook
from shared.service import Runtime, make_service


def make_app() -> AsgiFastStream:
    settings = Settings()
    database = Database(settings.database_url, size=settings.database_pool_size, name="cost")
    accountant = Accountant(database, PriceBook())

    @asynccontextmanager
    async def parts(runtime: Runtime) -> AsyncIterator[None]:
        runtime.checks["database"] = database.ping
        try:
            async with runtime.consuming(COST, accountant.charge, only=BILLABLE):
                yield
        finally:
            await database.close()

    return make_service("cost", settings, parts)
