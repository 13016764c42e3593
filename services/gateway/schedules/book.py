"""A project's schedules, as the API works on them. Starting what is due is in `scheduler.py`."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import to_json

from services.gateway.key_ring import Principal
from services.gateway.problems import NOT_FOUND, Problem, invalid
from services.gateway.reads import answered
from services.gateway.requests import RunInput, ScheduleChange, ScheduleInput
from services.gateway.schedules import reads, store
from services.gateway.schedules.cron import BadCron, Cron
from services.gateway.schedules.models import ScheduleView, TickView
from services.gateway.starter import Order, Starter
from shared.database import Connection, Database
from shared.scrub import Scrubber
from shared.steps import now

MOST: Final = 100
PATH: Final = "/api/schedules"
Result = TypeVar("Result")
Clock = Callable[[], datetime]


class Schedules:
    """Methods raise Problem (404, 422, 503) and Unavailable."""

    def __init__(
        self, database: Database, starter: Starter, scrubber: Scrubber, *, clock: Clock = now
    ) -> None:
        self._database = database
        self._starter = starter
        self._scrubber = scrubber
        self._clock = clock

    async def create(self, caller: Principal, schedule_id: UUID, asked: ScheduleInput) -> ScheduleView:
        """To repeat it with the same id changes nothing."""
        values = await self._values(caller, asked)
        await self._do(lambda connection: store.add(connection, caller.project, schedule_id, values, MOST))
        found = await self._find(caller.project, schedule_id)
        if found is None:
            raise invalid("name", f"this project has {MOST} schedules, which is the most; delete one first")
        return found

    async def all(self, project: str) -> tuple[ScheduleView, ...]:
        return tuple(await self._do(lambda connection: reads.schedules(connection, project)))

    async def get(self, project: str, schedule_id: UUID) -> ScheduleView:
        found = await self._find(project, schedule_id)
        if found is None:
            raise no_such_schedule(str(schedule_id))
        return found

    async def change(self, caller: Principal, schedule_id: UUID, asked: ScheduleChange) -> ScheduleView:
        """What was due until now stays; the times of the new line begin now."""
        found = await self.get(caller.project, schedule_id)
        given = asked.model_dump(exclude_none=True, exclude={"input"})
        whole = ScheduleInput(
            **{name: getattr(found, name) for name in ("name", "cron", "timezone", "missed", "active")}
            | given,
            input=asked.input or run_of(found.input),
        )
        values = await self._values(caller, whole)
        await self._do(lambda connection: store.change(connection, caller.project, schedule_id, values))
        return await self.get(caller.project, schedule_id)

    async def switch(self, project: str, schedule_id: UUID, *, active: bool) -> ScheduleView:
        """Pause or resume; to do so twice changes nothing. Times in a pause are not missed, they are none."""
        found = await self.get(project, schedule_id)
        next_at = self._next(Cron.parse(found.cron, found.timezone))
        await self._do(lambda connection: store.switch(connection, project, schedule_id, active, next_at))
        return await self.get(project, schedule_id)

    async def delete(self, project: str, schedule_id: UUID) -> None:
        if not await self._do(lambda connection: store.delete(connection, project, schedule_id)):
            raise no_such_schedule(str(schedule_id))

    async def ticks(
        self, project: str, schedule_id: UUID, before: datetime | None, limit: int
    ) -> list[TickView]:
        """Newest first."""
        await self.get(project, schedule_id)
        return await self._do(lambda connection: reads.ticks(connection, project, schedule_id, before, limit))

    async def _values(self, caller: Principal, asked: ScheduleInput) -> tuple[Any, ...]:
        """The row of a schedule whose line and run are found to be right. Raises Problem (422, 503)."""
        try:
            cron = Cron.parse(asked.cron, asked.timezone)
        except BadCron as error:
            raise invalid(error.field, str(error)) from None
        await self._require_startable(caller, asked.input)
        run = to_json(self._scrubber.value(asked.input.model_dump(mode="json", exclude_unset=True))).decode()
        next_at = self._next(cron)
        return (asked.name, asked.cron, asked.timezone, run, asked.missed, asked.active, next_at)

    async def _require_startable(self, caller: Principal, run: RunInput) -> None:
        """Raises Problem as POST /api/runs would, its fields being those of `input`. Nothing is started."""
        try:
            await self._starter.check(Order(caller, PATH, run))
        except Problem as problem:
            within = [each.model_copy(update={"field": f"input.{each.field}"}) for each in problem.errors]
            detail = "; ".join(f"{each.field}: {each.message}" for each in within) or problem.detail
            raise Problem(problem.kind, detail, errors=within, headers=problem.headers) from problem

    def _next(self, cron: Cron) -> datetime:
        return next(cron.ticks(self._clock()))

    async def _find(self, project: str, schedule_id: UUID) -> ScheduleView | None:
        return await self._do(lambda connection: reads.schedule(connection, project, schedule_id))

    async def _do(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        return await answered(self._database, work)


def run_of(stored: Any) -> RunInput:
    """The run as it was stored. Raises Problem (422) when this version does not take it any more."""
    try:
        return RunInput.model_validate_json(to_json(stored))
    except ValidationError as error:
        raise invalid("input", f"has {error.error_count()} faults by now; give it anew") from None


def no_such_schedule(schedule_id: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no schedule {schedule_id[:64]!r}; GET /api/schedules lists them")
