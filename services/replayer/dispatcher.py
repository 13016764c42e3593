"""Which replays are looked at, and when: at once when something has come, and every second in any case.

Projects take turns (see `store.replays.due`). A replay that cannot go on for a reason that will not pass is
ended, and says so: it costs only itself.
"""

import asyncio
from typing import Final

import structlog
from prometheus_client import Gauge

from services.replayer.advance import Advance
from services.replayer.store import replays
from shared.database import Database
from shared.errors import Unavailable
from shared.tasks import end

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0
OPEN: Final = Gauge("studio_replays_open", "Replays that have not ended.")


class Dispatcher:
    """At most `in_work` replays are in work, and at least one of every project, with at most
    `parallel` runs of each under way. So many replays are looked at `at_once`."""

    def __init__(
        self, database: Database, advance: Advance, *, in_work: int, parallel: int, at_once: int
    ) -> None:
        self._database = database
        self._advance = advance
        self._in_work = in_work
        self._parallel = parallel
        self._places = asyncio.Semaphore(at_once)
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._news = 0

    def wake(self) -> None:
        """There is something to do."""
        self._news += 1
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._woken.clear()
                await self._start_looks()
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            await end(*self._looks.values())

    async def _start_looks(self) -> None:
        try:
            async with self._database.connection() as connection:
                due = await replays.due(connection, self._in_work, self._parallel)
                OPEN.set(await replays.count_open(connection))
        except Unavailable as error:
            log.info("replays wait for the database", error=str(error))
            return
        for replay_id in due:
            if replay_id not in self._looks:
                task = asyncio.create_task(self._look(replay_id), name=f"replay {replay_id}")
                self._looks[replay_id] = task

    async def _look(self, replay_id: str) -> None:
        async with self._places:
            news = self._news
            await self._try_to_look(replay_id)
        del self._looks[replay_id]
        if self._news != news:  # perhaps of this very replay, and too late for this look
            self._woken.set()

    async def _try_to_look(self, replay_id: str) -> None:
        try:
            if await self._advance.look(replay_id):
                self.wake()
        except Unavailable as error:
            log.info("a replay is looked at again later", replay_id=replay_id, error=str(error))
        except Exception as error:
            log.exception("a replay cannot go on", replay_id=replay_id)
            await self._give_up(replay_id, f"{type(error).__name__}: {error}")

    async def _give_up(self, replay_id: str, why: str) -> None:
        try:
            await self._advance.give_up(replay_id, why)
        except Unavailable as error:
            log.warning("a replay is given up later", replay_id=replay_id, error=str(error))
