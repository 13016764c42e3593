"""Finding runs: in Postgres when it has all of a finished run, else in the log, which is the truth.

Either may be away, and then the other answers as well as it can. A run that was deleted is not there from
the moment that its deletion is accepted, whatever else Postgres and the log still have.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog

from services.gateway import reads
from services.gateway.backlog.queue import Backlog
from services.gateway.bodies import Bodies, no_such_body
from services.gateway.log_reader import Last, LogReader, lasts
from services.gateway.problems import DatabaseAway, no_such_run
from services.gateway.reads import RunFilter, RunRow, StepText
from services.gateway.views import Cost, RunView, view_of
from shared.database import Connection, Database
from shared.errors import Unavailable
from shared.run_state import LogGap, RunState
from shared.step_codec import decode_steps, encode_step
from shared.steps import AgentResponse, Step
from shared.stored import sequence_of
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

LIST_PATIENCE_S: Final = 10.0
PAGE_STEPS: Final = 500
SHA256: Final = re.compile(r"[0-9a-f]{64}")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """A run that is there. `in_database`: Postgres has all of its steps, or all that are left of them."""

    run: RunKey
    view: RunView
    in_database: bool


@dataclass(frozen=True)
class LogFold:
    """What a run's log adds up to. `position` is its last stream sequence, 0 while it is empty.

    `lasts`: the broker keeps it for as long as the run may work.
    """

    state: RunState
    position: int
    lasts: bool = True


class Runs:
    """Reads runs. Every method may raise Unavailable, and Problem (404) for a run that is not there."""

    def __init__(self, reader: LogReader, database: Database, bodies: Bodies, backlog: Backlog) -> None:
        self._reader = reader
        self._backlog = backlog
        self._database = database
        self._bodies = bodies
        self._endings: dict[RunKey, asyncio.Task[Found]] = {}

    async def find(self, run: RunKey) -> Found:
        row, last = await asyncio.gather(_attempt(self.row(run)), _attempt(self._reader.last(run)))
        if _is_deleted(row, last):
            raise no_such_run(run.run_id)
        if isinstance(row, RunRow) and row.view and (row.is_whole or isinstance(last, Unavailable)):
            return Found(run, row.view, in_database=True)
        if isinstance(last, Unavailable):
            raise last
        cost = row.cost if isinstance(row, RunRow) else Cost()
        fold = await self.fold(run)
        if fold.state.deleted:  # a moment ago
            raise no_such_run(run.run_id)
        known = row.view.step_count if isinstance(row, RunRow) and row.view else 0
        if fold.state.request is not None and fold.state.next_seq >= known:
            return Found(run, await self.view(fold.state, cost), in_database=False)
        if isinstance(row, Unavailable):
            raise row
        if row.view is None:
            raise no_such_run(run.run_id)
        return Found(run, row.view, in_database=True)

    async def ended(self, run: RunKey) -> RunView:
        """A run that is known to have ended; read once for all who ask at the same time.

        Raises Unavailable when what is read does not have the end yet.
        """
        reading = self._endings.get(run)
        if reading is None:
            reading = self._endings[run] = asyncio.create_task(self.find(run), name="read an ended run")
            reading.add_done_callback(lambda task: self._forget_ending(run, task))
        found = await asyncio.shield(reading)
        if not found.view.status.is_final:
            raise Unavailable("the log was read from a replica that is behind")
        return found.view

    def _forget_ending(self, run: RunKey, reading: asyncio.Task[Found]) -> None:
        self._endings.pop(run, None)
        if not reading.cancelled():
            reading.exception()  # all who asked may have left; it is nobody's failure then

    async def fold(self, run: RunKey) -> LogFold:
        """The log as it is now; without a request in it when the broker does not have the run's beginning."""
        try:
            return await self._folded(run)
        except LogGap:
            last = await self._reader.last(run)
            if last is not None and last.is_deleted:  # it is being erased while it is read
                raise no_such_run(run.run_id) from None
            return LogFold(RunState(), last.sequence if last is not None else 0, lasts=False)

    async def _folded(self, run: RunKey) -> LogFold:
        state, position, stays = RunState(), 0, True
        if (job := await self.job(run)) is not None:
            state.apply(job)
        async for messages in self._reader.messages(run):
            stays = stays and lasts(messages[0])
            for message in messages:
                for step in decode_steps(message.data):
                    _apply(state, step)
            position = sequence_of(messages[-1])
        return LogFold(state, position, stays)

    async def recorded(self, run: RunKey) -> RunState:
        """What Postgres has of the run adds up to. Raises Unavailable while steps are missing in between."""
        row, state = await self.row(run), RunState()
        if row.view is None or row.is_deleted or row.is_leaving:
            raise no_such_run(run.run_id)
        try:
            async for page in self.step_pages(Found(run, row.view, in_database=True), -1):
                for step in decode_steps(b"[" + b",".join(each.text for each in page) + b"]"):
                    state.apply(step)
        except LogGap as gap:
            raise DatabaseAway(f"Postgres does not have all steps of the run yet: {gap}") from gap
        return state

    async def job(self, run: RunKey, *, certain: bool = False) -> Step | None:
        """Step 0, from the broker or from where the run waits for its turn there; `certain` raises
        Unavailable when the latter cannot be known."""
        if (job := await self._reader.job(run)) is not None:
            return job
        try:
            is_known, step = await self._backlog.step(run)
        except Unavailable as error:
            if certain:
                raise
            log.info("it is not known whether a run waits for its turn", run_id=run.run_id, error=str(error))
            return None
        # Its turn may have come between the two looks.
        return await self._reader.job(run) if is_known and step is None else step

    async def view(self, state: RunState, cost: Cost) -> RunView:
        request = state.request
        if request is None:
            raise ValueError("the fold has no step 0")
        run = RunKey(request.project, request.run_id)
        response = state.response.content if isinstance(state.response, AgentResponse) else None
        return view_of(
            state,
            await self._bodies.shown(run, request.prompt),
            await self._bodies.shown(run, response),
            cost,
        )

    async def row(self, run: RunKey) -> RunRow:
        """What Postgres has of the run, deleted or not."""
        return await self._read(lambda connection: reads.find_run(connection, run))

    async def cost(self, run: RunKey) -> Cost:
        return (await self.row(run)).cost

    async def recorded_request(self, run: RunKey) -> Step | None:
        """Step 0 as Postgres has it; None for a run that is not there, or deleted."""
        row = await self.row(run)
        if row.view is None or row.is_deleted or row.is_leaving:
            return None
        first = await self.steps(Found(run, row.view, in_database=True), -1, 1)
        return decode_steps(b"[" + first[0].text + b"]")[0] if first else None

    async def newest_of_session(self, run: RunKey, session_id: str) -> RunKey | None:
        """The newest run of the session in Postgres that is older than this one."""
        return await self._read(lambda connection: reads.newest_of_session(connection, run, session_id))

    async def newest(self, project: str, wanted: RunFilter, before: UUID | None, limit: int) -> list[RunView]:
        return await self._read(
            lambda connection: reads.list_runs(connection, project, wanted, before, limit), LIST_PATIENCE_S
        )

    async def steps(self, found: Found, after: int, limit: int) -> list[StepText]:
        """At most `limit` steps behind seq `after`, as they are stored."""
        if found.in_database:
            return await self._read(lambda connection: reads.step_texts(connection, found.run, after, limit))
        steps: list[StepText] = []
        async for page in self.log_steps(found.run, after):
            steps += page
            if len(steps) >= limit:
                break
        return steps[:limit]

    async def body(self, found: Found, sha256: str) -> bytes:
        """The JSON text of a value that a step of the run points to. Raises Problem (404)."""
        if not SHA256.fullmatch(sha256) or not await self._refers(found, sha256):
            raise no_such_body(sha256)
        return await self._bodies.get(found.run, sha256)

    async def step_pages(self, found: Found, after: int) -> AsyncIterator[list[StepText]]:
        """All steps behind seq `after`."""
        if not found.in_database:
            async for page in self.log_steps(found.run, after):
                yield page
            return
        while page := await self.steps(found, after, PAGE_STEPS):
            yield page
            after = page[-1].seq

    async def log_steps(self, run: RunKey, after: int, *, at_least: int = 0) -> AsyncIterator[list[StepText]]:
        """The steps of the log behind seq `after`; Unavailable unless it reaches position `at_least`."""
        if after < 0 and (job := await self.job(run)) is not None:
            yield [_text_of(job)]
        position = 0
        async for messages in self._reader.pages(run):
            steps = [step for _, data in messages for step in decode_steps(data)]
            yield [_text_of(step) for step in steps if step.seq > after]
            position = messages[-1][0]
        if position < at_least:
            raise Unavailable("the log was read from a replica that is behind")

    async def _refers(self, found: Found, sha256: str) -> bool:
        if found.in_database:
            return await self._read(lambda connection: reads.refers_to(connection, found.run, sha256))
        # Only the log itself writes this key: in what clients and tools give it is escaped.
        reference = b'"$body":"%s"' % sha256.encode()
        async for page in self.log_steps(found.run, -1):
            if any(reference in step.text for step in page):
                return True
        return False

    async def _read(
        self, read: Callable[[Connection], Awaitable[Result]], patience_s: float = reads.PATIENCE_S
    ) -> Result:
        return await reads.answered(self._database, read, patience_s)


def _is_deleted(row: RunRow | Unavailable, last: Last | Unavailable | None) -> bool:
    return (isinstance(last, Last) and last.is_deleted) or (
        isinstance(row, RunRow) and (row.is_deleted or row.is_leaving)
    )


async def _attempt(reading: Awaitable[Result]) -> Result | Unavailable:
    """The result, or why there is none: one source is enough."""
    try:
        return await reading
    except Unavailable as error:
        log.debug("a source of runs is away", error=str(error))
        return error


def _apply(state: RunState, step: Step) -> None:
    # The broker drops what is older than a week, so a job may be gone before its last steps are.
    if state.request is not None or step.kind == "run-deleted":
        state.apply(step)


def _text_of(step: Step) -> StepText:
    return StepText(step.seq, step.kind, encode_step(step))
