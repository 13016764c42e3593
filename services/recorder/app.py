"""Wiring only. Run: uvicorn --factory services.recorder.app:make_app"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.asgi import AsgiFastStream

from services.recorder.handlers import Recorder
from services.recorder.partitions import keep_partitions
from services.recorder.settings import Settings
from shared.bodies import BodyStore
from shared.bus import RECORDER
from shared.database import Database
from shared.service import Runtime, make_service


def make_app() -> AsgiFastStream:
    settings = Settings()
    database = Database(settings.database_url, size=settings.database_pool_size, name="recorder")

    @asynccontextmanager
    async def parts(runtime: Runtime) -> AsyncIterator[None]:
        recorder = Recorder(database, BodyStore(runtime.client))
        runtime.checks["database"] = database.ping
        upkeep = keep_partitions(database, settings.partition_weeks_ahead, settings.partition_upkeep_s)
        task = runtime.keep(asyncio.create_task(upkeep, name="partition upkeep"))
        try:
            async with runtime.consuming(RECORDER, recorder.record):
                yield
        finally:
            task.cancel()
            await database.close()

    return make_service("recorder", settings, parts)
