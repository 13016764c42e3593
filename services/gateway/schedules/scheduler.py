"""What starts the runs of schedules: times that are due become ticks, and each tick becomes one run.

Every gateway does this all the time, on the same rows, by its own clock: where clocks differ a run starts a
little early or late, but once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter
from pydantic import ValidationError

from services.gateway.key_ring import Principal
from services.gateway.problems import TOO_MANY_RUNS, Problem
from services.gateway.requests import RunInput
from services.gateway.schedules import store
from services.gateway.schedules.book import PATH, Clock
from services.gateway.schedules.cron import BadCron, Cron
from services.gateway.schedules.store import DueSchedule, Tick, Verdict
from services.gateway.starter import Order, Prepared
from shared.database import Database
from shared.errors import Permanent, StudioError
from shared.steps import now

log = structlog.get_logger(__name__)

Start = Callable[[Order], Awaitable[Prepared]]
EVERY_S: Final = 1.0
MOST_AT_ONCE: Final = 16
LEASE: Final = timedelta(seconds=60)
LONGEST_PAUSE_S: Final = 60.0
GIVEN_UP_AFTER: Final = timedelta(days=1)  # idempotency keys are kept for longer
BROKEN_PAUSE: Final = timedelta(hours=1)
KEPT: Final = timedelta(days=30)
FORGET_EVERY_S: Final = 600.0
MOST_FORGOTTEN: Final = 5000
TICKS: Final = Counter(
    "studio_schedule_ticks_total",
    "Tries to start the run of a tick: started, pending or failed.",
    ["outcome"],
)


class Scheduler:
    def __init__(self, database: Database, start: Start, *, clock: Clock = now) -> None:
        self._database = database
        self._start_run = start
        self._clock = clock
        self._forget_at = monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if await self.round() < MOST_AT_ONCE:
                await asyncio.sleep(EVERY_S)

    async def round(self) -> int:
        """Make ticks of what is due and try each that waits for its run once; returns how many those were."""
        try:
            await self._make_ticks()
            async with self._database.transaction() as connection:
                ticks = await store.claim(connection, self._clock(), MOST_AT_ONCE, LEASE)
        except StudioError as error:
            log.info("schedules wait for the database", error=str(error))
            return 0
        await asyncio.gather(*(self._try(tick) for tick in ticks))
        return len(ticks)

    async def _make_ticks(self) -> None:
        at = self._clock()
        async with self._database.transaction() as connection:
            if monotonic() >= self._forget_at:
                await store.forget(connection, at - KEPT, MOST_FORGOTTEN)
                self._forget_at = monotonic() + FORGET_EVERY_S
            for schedule in await store.lock_due(connection, at, MOST_AT_ONCE):
                ticks, next_at = _plan(schedule, at)
                await store.add_ticks(connection, schedule, ticks, at)
                await store.move_on(connection, schedule.id, next_at)

    async def _try(self, tick: Tick) -> None:
        verdict = await self._start(tick)
        TICKS.labels(verdict.status).inc()
        if verdict.error is not None:
            log.warning("a schedule's run did not start", schedule_id=str(tick.schedule_id), **_why(verdict))
        try:
            async with self._database.transaction() as connection:
                await store.finish(connection, tick, verdict)
        except StudioError as error:  # the lease bounds when it is tried again, and the run stays the same
            log.info("a tick was not noted", schedule_id=str(tick.schedule_id), error=str(error))

    async def _start(self, tick: Tick) -> Verdict:
        try:
            prepared = await self._start_run(order_of(tick))
        except ValidationError as error:
            count = error.error_count()
            return Verdict("failed", tick.due_at, error=f"the run's input has {count} faults by now")
        except Problem as problem:
            will_pass = problem.kind is TOO_MANY_RUNS or problem.kind.status >= 500
            return self._refused(tick, problem.detail, will_pass=will_pass)
        except StudioError as error:
            return self._refused(tick, str(error), will_pass=not isinstance(error, Permanent))
        return Verdict("started", self._clock(), run_id=UUID(prepared.key.run_id))

    def _refused(self, tick: Tick, why: str, *, will_pass: bool) -> Verdict:
        at = self._clock()
        if not will_pass or at - tick.due_at > GIVEN_UP_AFTER:
            return Verdict("failed", at, error=why)
        pause = timedelta(seconds=min(2.0 ** min(tick.tries, 10), LONGEST_PAUSE_S))
        return Verdict("pending", at + pause, error=why)


def order_of(tick: Tick) -> Order:
    """The same for every try, so the broker knows the run again. Raises ValidationError."""
    name = f"schedule {tick.schedule_id}"
    principal = Principal(tick.project, "schedule", name, frozenset({"write"}))
    key = f"schedule:{tick.schedule_id}:{int(tick.due_at.timestamp())}"
    return Order(principal, PATH, RunInput.model_validate_json(tick.input), key)


def _plan(schedule: DueSchedule, at: datetime) -> tuple[Sequence[datetime], datetime]:
    """The times that are to have a run, and when to look again."""
    try:
        cron = Cron.parse(schedule.cron, schedule.timezone)
    except BadCron as error:  # the time zones of this machine are others than when it was made
        log.error("a schedule cannot be read", schedule_id=str(schedule.id), error=str(error))
        return (), at + BROKEN_PAUSE
    return cron.due(schedule.missed, schedule.next_at, at), next(cron.ticks(at))


def _why(verdict: Verdict) -> dict[str, str | None]:
    return {"status": verdict.status, "error": verdict.error}
