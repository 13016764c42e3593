"""What happens to waiting runs by itself: a question expires, and a run that nobody woke is woken.

Any number of gateways may do this at once: each append is compare-and-set, each job is put back once.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

import structlog

from services.gateway.lifecycle import Lifecycle
from services.gateway.problems import Problem
from services.gateway.steering import Steering
from services.gateway.waiting import reads
from shared.database import Database
from shared.errors import StudioError
from shared.step_codec import Undecodable
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
MOST_AT_ONCE: Final = 100
UNWOKEN_FOR: Final = timedelta(seconds=10)


class Clock:
    def __init__(self, database: Database, lifecycle: Lifecycle, steering: Steering) -> None:
        self._database = database
        self._lifecycle = lifecycle
        self._steering = steering

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except StudioError as error:
                log.info("waiting runs are looked at later", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """One look. Raises Unavailable."""
        async with self._database.connection() as connection:
            late = await reads.late_runs(connection, MOST_AT_ONCE)
            unwoken = await reads.unwoken_runs(connection, MOST_AT_ONCE, UNWOKEN_FOR)
        for run in late:
            await self._attempt(run, self._steering.expire(run))
        for run, seq in unwoken:
            await self._attempt(run, self._lifecycle.rewake(run, f"unwoken:{seq}"))

    async def _attempt(self, run: RunKey, attempt: Awaitable[None]) -> None:
        try:
            await attempt
        except (Problem, StudioError, Undecodable) as error:
            log.warning("a waiting run cannot go on", run_id=run.run_id, error=str(error))
