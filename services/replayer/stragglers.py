"""Runs of which nothing is heard: their logs are looked at, so that no replay waits for a lost one."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from nats.aio.client import Client

from services.replayer.logs import Gone, Logs
from services.replayer.store import runs
from services.replayer.store.runs import Silent
from shared.cancellation import cancel
from shared.database import Database
from shared.errors import StudioError
from shared.run_log import RunLog
from shared.steps import RunStatus, now
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

SILENT_S: Final = 30.0
AT_ONCE: Final = 100


class Stragglers:
    """`limit_s`: how long a run may go on; then it is asked to stop, and no longer awaited."""

    def __init__(
        self, database: Database, client: Client, run_log: RunLog, wake: Callable[[], None], limit_s: float
    ) -> None:
        self._database = database
        self._client = client
        self._log = run_log
        self._wake = wake
        self._limit = timedelta(seconds=limit_s)

    async def run(self) -> None:
        """Until cancelled."""
        every_s = min(SILENT_S, self._limit.total_seconds())
        while True:
            try:
                await self.look(every_s)
            except StudioError as error:
                log.info("lost runs are looked for later", error=str(error))
            await asyncio.sleep(every_s)

    async def look(self, silent_s: float) -> None:
        """One look at what was requested so long ago. Raises Unavailable."""
        async with self._database.connection() as connection:
            silent = await runs.silent(connection, silent_s, AT_ONCE)
        logs = Logs(self._log)
        ends = {run.run_id: status for run in silent if (status := await self._end(run, logs)) is not None}
        if not ends:
            return
        async with self._database.transaction() as connection:
            await runs.mark(connection, ends)
        self._wake()

    async def _end(self, run: Silent, logs: Logs) -> RunStatus | None:
        """How the run has ended; None while it goes on."""
        key = RunKey(run.project, run.run_id)
        try:
            state = (await logs.run(key)).state
        except Gone:
            return RunStatus.FAILED
        if state.finished is not None:
            return state.status
        if now() - run.requested_at < self._limit:
            return None
        who = f"replay {run.replay_id}"
        await cancel(self._client, self._log, key, who=who, why="it did not end in time")
        return RunStatus.FAILED
