"""The watched runs of this process: one watch for each, shared by all who listen to it.

One clock for all of them checks each watch at every heartbeat, and all after the broker came back, so a
thousand idle listeners cost a thousand list entries and no task of their own here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from nats.aio.client import Client

from services.gateway.log_reader import LogReader
from services.gateway.metrics import WATCHED
from services.gateway.problems import unavailable
from services.gateway.watch import Listener, Watch
from shared.subjects import RunKey

TICK_S: Final = 1.0
MOST_CHECKS: Final = 16


class Hub:
    """Joins listeners to watches. `run` must go on in a task while the hub is used."""

    def __init__(self, client: Client, reader: LogReader, *, heartbeat_s: float) -> None:
        self.heartbeat_s = heartbeat_s
        self._client = client
        self._reader = reader
        self._watches: dict[RunKey, Watch] = {}
        self._reconnects = client.stats["reconnects"]
        self._is_closed = False

    @asynccontextmanager
    async def watching(self, run: RunKey, listener: Listener, *, is_new: bool = False) -> AsyncIterator[int]:
        """The listener hears of everything behind the position given here; what is before it, it must read.

        `is_new` says that the run's log is known to be empty. Raises Unavailable, or Problem (503) once the
        process stops.
        """
        if self._is_closed:
            raise unavailable("this gateway is stopping; try again")
        watch = self._watches.get(run)
        if watch is None:
            watch = self._watches[run] = Watch(self._client, self._reader, run)
            WATCHED.set(len(self._watches))
        watch.listeners.add(listener)
        try:
            position = await watch.open(is_new=is_new)
            if listener.wants_deltas:
                await watch.want_deltas()
            yield position
        finally:
            watch.listeners.discard(listener)
            if not watch.listeners and self._watches.get(run) is watch:
                del self._watches[run]
                WATCHED.set(len(self._watches))
                await watch.close()

    async def run(self) -> None:
        """Check the watches for ever."""
        while True:
            await asyncio.sleep(min(TICK_S, self.heartbeat_s / 3))
            if self._client.is_connected:
                await self._check(self._due())

    def close(self) -> None:
        """Tell every listener that nothing more will come, and take no new ones."""
        self._is_closed = True
        for watch in tuple(self._watches.values()):
            for listener in tuple(watch.listeners):
                listener.closed()

    def _due(self) -> list[Watch]:
        reconnected = self._client.stats["reconnects"] != self._reconnects
        self._reconnects = self._client.stats["reconnects"]
        at = monotonic()
        due = []
        for watch in self._watches.values():
            watch.is_behind = watch.is_behind or reconnected
            if watch.position is not None and (watch.is_behind or at - watch.checked_at >= self.heartbeat_s):
                due.append(watch)
        return due

    async def _check(self, watches: list[Watch]) -> None:
        for start in range(0, len(watches), MOST_CHECKS):
            await asyncio.gather(*(watch.check() for watch in watches[start : start + MOST_CHECKS]))
