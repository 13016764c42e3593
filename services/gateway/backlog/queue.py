"""Accepted runs that wait as rows until it is their turn: those of batches, and those of a project that has
enough in the broker's queue. How they get there in the end is in `feeder.py`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from services.gateway import reads
from services.gateway.backlog import store
from services.gateway.backlog.crowding import Crowding
from services.gateway.backlog.store import Held, Priority
from services.gateway.metrics import ACCEPTED
from services.gateway.problems import TOO_MANY_RUNS, Problem, invalid
from shared.database import Database
from shared.errors import Permanent, Unavailable
from shared.payload import Payloads
from shared.step_codec import decode_steps
from shared.steps import Step
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

MOST_HELD: Final = 100_000
RETRY_AFTER_S: Final = 30


class Backlog:
    """`changed` is set when something was added here. Methods raise Unavailable."""

    def __init__(self, database: Database, crowding: Crowding, payloads: Payloads) -> None:
        self.changed = asyncio.Event()
        self._database = database
        self._crowding = crowding
        self._payloads = payloads

    async def takes(self, run: RunKey, step: bytes, priority: Priority) -> bool:
        """Whether the run waits here; False: it may go to the broker. Raises Problem (422, 429)."""
        if priority == "interactive" and not await self._crowding.is_crowded(run.project):
            return False
        return await self.hold(run.project, priority, [Held(run, await self.job(run, step))])

    async def job(self, run: RunKey, step: bytes) -> bytes:
        """The job of a run with this step 0, as the broker will get it. Raises Problem (422)."""
        try:
            return await self._payloads.encode(run.project, [step])
        except Permanent as error:
            raise invalid("body", str(error)) from None

    async def has(self, run: RunKey) -> bool:
        """Whether the run waits here, as far as that can be known."""
        try:
            return (await self._job_of(run))[1] is not None
        except Unavailable as error:
            log.info("it is not known whether a run waits for its turn", error=str(error))
            return False

    async def hold(
        self, project: str, priority: Priority, held: Sequence[Held], batch: UUID | None = None
    ) -> bool:
        """On disk when it returns; False: the batch was cancelled. Raises Problem (429) for too many."""
        async with self._database.transaction() as connection:
            if batch is not None and await store.is_cancelled(connection, batch):
                return False
            if await store.count_held(connection, project, MOST_HELD) + len(held) > MOST_HELD:
                raise _too_many()
            await store.hold(connection, project, priority, held, batch)
        ACCEPTED.inc(len(held))
        self.changed.set()
        return True

    async def hurry(self, run: RunKey) -> None:
        """The run, if it waits here, was cancelled: it gets its turn at once, to end."""
        try:
            await reads.answered(self._database, lambda connection: store.hurry(connection, run))
        except Unavailable as error:
            log.info("a cancelled run ends when its turn comes", run_id=run.run_id, error=str(error))
        self.changed.set()

    async def step(self, run: RunKey) -> tuple[bool, Step | None]:
        """Whether the run is or was one of these, and its step 0 while it waits."""
        is_known, job = await self._job_of(run)
        return is_known, decode_steps(job)[0] if job is not None else None

    async def _job_of(self, run: RunKey) -> tuple[bool, bytes | None]:
        return await reads.answered(self._database, lambda connection: store.job_of(connection, run))


def _too_many() -> Problem:
    return Problem(
        TOO_MANY_RUNS,
        f"{MOST_HELD:,} runs of this project wait for their turn, the most there may be; come back later",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
