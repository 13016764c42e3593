"""The weekly partitions of `steps`, kept ahead of time: a week without one has no place for its steps."""

import asyncio
from typing import Final

import structlog
from prometheus_client import Gauge

from shared.database import Database
from shared.errors import StudioError

log = structlog.get_logger(__name__)
WEEKS_AHEAD: Final = Gauge(
    "studio_recorder_partition_weeks_ahead", "For how many weeks after this one the partitions exist."
)
RETRY_S: Final = 30.0

CREATE: Final = (
    "SELECT create_step_partitions(now() - interval '2 weeks', now() + make_interval(weeks => $1))"
)
AHEAD: Final = """
SELECT count(*) FROM generate_series(1, 53) AS n
WHERE to_regclass('steps_' || to_char(now() + make_interval(weeks => n), 'IYYY"w"IW')) IS NOT NULL
"""


async def create_partitions(database: Database, weeks_ahead: int) -> int:
    """Create what is missing up to `weeks_ahead` weeks from now; returns how many were created."""
    async with database.transaction() as connection:
        created: int = await connection.fetchval(CREATE, weeks_ahead)
        WEEKS_AHEAD.set(await connection.fetchval(AHEAD))
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
