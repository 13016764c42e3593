"""Finds accepted runs that the broker's consumer has forgotten, and puts them back into the queue.

A job is acknowledged only once its run has ended or waits for somebody. So a job at or below the consumer's
acknowledgement floor whose log says neither was lost: a broker that is killed can come back with a floor that
is too high. Looked for when this runner starts and whenever it had to reconnect; in between the floor can be
trusted, and is noted on the bus so that the next search begins there. A job that is put back twice does no
harm: claims are fenced.
"""

import asyncio
from typing import Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter

from shared.bus import CATALOG, KINDS_HEADER, RUNNER, RUNS, jetstream
from shared.errors import Unavailable
from shared.run_log import RunLog
from shared.stored import last_stored, sequence_of, stored_messages, subject_of
from shared.subjects import RunKey, catalog_subject, log_subject

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
NOTE: Final = "swept"
RELEASED: Final = frozenset({"run-finished", "run-deleted", "run-waiting"})
REQUEUED: Final = Counter("studio_runs_requeued_total", "Runs whose job the broker had forgotten.")


class Sweep:
    def __init__(self, client: Client, run_log: RunLog) -> None:
        self._client = client
        self._log = run_log
        self._js = jetstream(client)
        self._trusted: int | None = None  # the count of reconnects for which the floor can be trusted

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except (Unavailable, NatsError, OSError) as error:
                log.info("the sweep waits for the broker", error=str(error) or type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """One look. Raises Unavailable or the client's errors while the broker is away."""
        reconnects = self._client.stats["reconnects"]
        info = await self._js.consumer_info(RUNS, RUNNER.name)
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        noted = await self._noted()
        if self._trusted != reconnects:
            await self._search(noted, floor)
        if self._client.stats["reconnects"] != reconnects:
            return  # the broker went away meanwhile: search again
        self._trusted = reconnects
        if floor > noted:
            await self._js.publish(catalog_subject(NOTE), str(floor).encode(), stream=CATALOG)

    async def _noted(self) -> int:
        message = await last_stored(self._client, CATALOG, catalog_subject(NOTE))
        return int(message.data) if message is not None else 0

    async def _search(self, after: int, floor: int) -> None:
        async for message in stored_messages(self._client, RUNS, "run.job.>", after + 1):
            if sequence_of(message) > floor:
                return
            run = RunKey.of_subject(subject_of(message))
            if not await self._is_released(run):
                await self._requeue(run, message)

    async def _is_released(self, run: RunKey) -> bool:
        last = await last_stored(self._client, RUNS, log_subject(run))
        kinds = (last.headers or {}).get(KINDS_HEADER, "").split(",") if last is not None else []
        return not RELEASED.isdisjoint(kinds)

    async def _requeue(self, run: RunKey, message: Msg) -> None:
        await self._log.requeue(run, cause=f"sweep:{sequence_of(message)}")
        REQUEUED.inc()
        log.warning("the broker had forgotten this run", run_id=run.run_id)
