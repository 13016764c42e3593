"""Erasing a deleted run from the broker, once those who must read its steps have done so.

The cost service must have counted what the run cost, and the recorder must have taken it out of Postgres;
only then are the steps purged. When that takes longer than a request can wait, it goes on behind it.
"""

import asyncio
from time import monotonic
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.gateway.problems import unavailable
from shared.bus import COST, RECORDER, jetstream
from shared.errors import Unavailable
from shared.run_log import RunKey, RunLog

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 2.0
GIVE_UP_S: Final = 3600.0
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 5.0
MOST_UNDERWAY: Final = 1000
READERS: Final = (RECORDER, COST)


class Erasure:
    def __init__(self, client: Client, run_log: RunLog) -> None:
        self._js = jetstream(client)
        self._log = run_log
        self._underway: set[asyncio.Task[None]] = set()

    def require_room(self) -> None:
        """Raises Problem (503) while too many deleted runs wait for the services that read them."""
        if len(self._underway) >= MOST_UNDERWAY:
            raise unavailable("too many deleted runs wait to be erased; try again later", retry_after_s=30)

    async def erase(self, run: RunKey, sequence: int, *, patience_s: float = PATIENCE_S) -> bool:
        """Purge the run, whose deletion is at `sequence`; False when that goes on behind the caller."""
        task = asyncio.create_task(self._erase(run, sequence), name="erase a run")
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        return bool(done)

    async def close(self) -> None:
        """Give up what is under way: the content stays in the broker until its age ends it."""
        tasks = tuple(self._underway)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _erase(self, run: RunKey, sequence: int) -> None:
        deadline, pause = monotonic() + GIVE_UP_S, FIRST_PAUSE_S
        while monotonic() < deadline:
            try:
                if await self._all_have_read(sequence):
                    await self._log.purge(run)
                    return
            except Unavailable as error:
                log.info("a deleted run is not erased yet", run_id=run.run_id, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
        log.warning("a deleted run stays in the broker until its age ends it", run_id=run.run_id)

    async def _all_have_read(self, sequence: int) -> bool:
        for reader in READERS:
            try:
                info = await self._js.consumer_info(reader.stream, reader.name)
            except (NatsError, OSError) as error:
                raise Unavailable(f"the consumer {reader.name} is not known: {error}") from error
            if info.ack_floor is None or info.ack_floor.stream_seq < sequence:
                return False
        return True
