"""Keeps the broker's queue short, so that whoever comes next waits behind few.

What else was accepted waits as rows, and is put into the queue as that gets shorter: interactive runs before
batches, projects in turn.

One gateway does it at a time. The broker takes a run once, however often it is tried.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import APIError
from prometheus_client import Counter

from services.gateway.backlog import store
from services.gateway.backlog.queue import Backlog
from services.gateway.backlog.store import Due
from shared.bus import KINDS_HEADER, RUNNER, RUNS, jetstream
from shared.database import Connection, Database
from shared.errors import Conflict, StudioError, Unavailable
from shared.run_log import AGAIN_HEADER, WRONG_LAST_SEQUENCE, RunLog
from shared.steps import CancelRequested, now
from shared.subjects import RunKey, job_subject

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 32
"""How many jobs that no runner has taken yet the queue may hold before anything is added."""
BUSY_PAUSE_S: Final = 0.05
IDLE_PAUSE_S: Final = 2.0
PATIENCE_S: Final = 2.0
RELEASED: Final = Counter(
    "studio_queued_runs_released_total", "Runs that waited for their turn and got it.", ["priority"]
)


class Feeder:
    """`most_batch`: how many runs of batches may be on their way at one time, of all projects."""

    def __init__(
        self, client: Client, run_log: RunLog, database: Database, backlog: Backlog, *, most_batch: int
    ) -> None:
        self._js = jetstream(client)
        self._log = run_log
        self._database = database
        self._backlog = backlog
        self._most_batch = most_batch

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._backlog.changed.clear()
            try:
                is_idle = not await self._round()
            except (StudioError, NatsError, OSError) as error:
                log.info("runs wait for broker or database", error=str(error) or type(error).__name__)
                is_idle = True
            if not is_idle:
                await asyncio.sleep(BUSY_PAUSE_S)
                continue
            try:
                async with asyncio.timeout(IDLE_PAUSE_S):
                    await self._backlog.changed.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        """Release whose turn it is; whether there may soon be more to do here."""
        async with self._database.transaction() as connection:
            held, released = await store.standing(connection)
            if not (held or released) or not await store.is_only_feeder(connection):
                return False
            await store.note_ended(connection)
            if held:
                async for due in self._due(connection, await self._room()):
                    await store.release(connection, await self._released(due))
            return held

    async def _due(self, connection: Connection, room: int) -> AsyncIterator[list[Due]]:
        """Never more than `room` in all, the most urgent first."""
        for priority in store.PRIORITIES:
            most = room
            if priority == "batch" and room > 0:
                most = min(room, self._most_batch - await store.count_busy(connection, priority))
            if most <= 0:
                continue
            due = await store.next_due(connection, priority, most)
            room -= len(due)
            if due:
                yield due
                RELEASED.labels(priority).inc(len(due))

    async def _room(self) -> int:
        info = await self._js.consumer_info(RUNNER.stream, RUNNER.name)
        return MOST_WAITING - int(info.num_pending or 0)

    async def _released(self, due: Sequence[Due]) -> list[RunKey]:
        """Those that the broker has now; the others come again."""
        results = await asyncio.gather(*(self._release(each) for each in due), return_exceptions=True)
        released = []
        for each, result in zip(due, results, strict=True):
            if result is None:
                released.append(each.key)
            elif isinstance(result, Unavailable):
                log.info("a run waits on for the broker", run_id=each.key.run_id, error=str(result))
            else:
                raise result
        return released

    async def _release(self, due: Due) -> None:
        """The header makes the runner read the log before it begins: the run may have been cancelled."""
        if due.cancelled_by is not None:
            await self._cancel(due.key, due.cancelled_by)
        headers = {
            Header.MSG_ID: f"queued:{due.key.run_id}",
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0",
            KINDS_HEADER: "run-requested",
            AGAIN_HEADER: "queued",
        }
        try:
            await self._js.publish(job_subject(due.key), due.job, stream=RUNS, headers=dict(headers))
        except (NatsError, OSError) as error:
            if isinstance(error, APIError) and error.err_code in WRONG_LAST_SEQUENCE:
                return  # released by a gateway that stopped before it could note it
            raise Unavailable(f"the broker did not take a job: {error or type(error).__name__}") from error

    async def _cancel(self, run: RunKey, who: str) -> None:
        """Before any runner sees the run; a conflict says that somebody has cancelled it already."""
        step = CancelRequested(
            run_id=run.run_id, seq=1, at=now(), project=run.project, writer=self._log.writer, who=who
        )
        try:
            await self._log.append(run, self._log.seal([step]), 0, patience_s=PATIENCE_S)
        except Conflict:
            log.debug("the run was cancelled before", run_id=run.run_id)
