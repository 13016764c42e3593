"""The weekly partitions of `steps`, kept ahead of time: a week without one has no place for its steps."""

import asyncio
from typing import Final

import structlog
from prometheus_client import Gauge

from services.recorder.store import steps
from shared.database import Database
from shared.errors import StudioError

log = structlog.get_logger(__name__)
WEEKS_AHEAD: Final = Gauge(
    "studio_recorder_partition_weeks_ahead", "For how many weeks after this one the partitions exist."
)
RETRY_S: Final = 30.0


async def create_partitions(database: Database, weeks_ahead: int) -> int:
    """Create what is missing up to `weeks_ahead` weeks from now; returns how many were created."""
    async with database.transaction() as connection:
        created, ahead = await steps.create_partitions(connection, weeks_ahead)
    WEEKS_AHEAD.set(ahead)
    return created


async def keep_partitions(database: Database, weeks_ahead: int, every_s: float) -> None:
    """Look after the partitions until cancelled; a failure is tried again soon and never ends it."""
    while True:
        try:
            created = await create_partitions(database, weeks_ahead)
        except StudioError as error:
            log.error("partitions not looked after", error=str(error), retry_s=RETRY_S)
            await asyncio.sleep(min(RETRY_S, every_s))
            continue
        log.info("partitions looked after", created=created)
        await asyncio.sleep(every_s)
