"""What the gateway itself appends to a run's log, with compare-and-set: the wish to cancel, the deletion.

Erasing the content of deleted runs is in `erasure.py`; how a log that has left the broker gets back there,
in `restoration.py`.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.gateway.backlog.queue import Backlog
from services.gateway.log_reader import is_old
from services.gateway.problems import NOT_FOUND, RUN_ACTIVE, RUN_FINISHED, Problem, no_such_run
from services.gateway.restoration import Restoration
from services.gateway.runs import Runs
from shared.errors import Conflict, Unavailable
from shared.run_log import RunLog
from shared.run_state import RunState
from shared.steps import CancelRequested, RunDeleted, RunStatus, Step, now
from shared.subjects import RunKey, nudge_subject

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 2.0
MOST_CONFLICTS: Final = 50
CONFLICT_PAUSE_S: Final = 0.02
AT_ONCE: Final = 16


@dataclass(frozen=True)
class Standing:
    """A run as the next step of its log finds it; `position` is where the broker's log ends.

    `lasts`: the broker has the whole log and keeps it while the run works. Where it has lost a part, `state`
    is no more than the run's row says.
    """

    state: RunState
    position: int
    lasts: bool = True

    @property
    def status(self) -> RunStatus:
        return self.state.status


class Lifecycle:
    """Methods raise Problem (404, 409) and Unavailable. `who` is written into the log."""

    def __init__(
        self, client: Client, run_log: RunLog, runs: Runs, backlog: Backlog, restoration: Restoration
    ) -> None:
        self._backlog = backlog
        self._client = client
        self._log = run_log
        self._runs = runs
        self._restoration = restoration

    async def cancel(self, run: RunKey, who: str, why: str) -> RunStatus:
        """Ask the run's runner to stop; to ask again changes nothing. Returns the status so far."""

        def decide(standing: Standing) -> Step | None:
            if standing.status.is_final:
                raise Problem(RUN_FINISHED, f"the run is {standing.status}; there is nothing to cancel")
            if standing.state.cancel is not None:
                return None
            return CancelRequested(**self.envelope(run, standing), who=who, why=why)

        standing, sequence = await self.append(run, decide)
        if standing.status is RunStatus.QUEUED:
            await self._backlog.hurry(run)
        await self.wake(run, standing, sequence)
        return standing.status

    async def cancel_if_active(self, run: RunKey, who: str, why: str) -> bool:
        """As `cancel`; False when the run has ended meanwhile, or is deleted, which is as good."""
        try:
            await self.cancel(run, who, why)
        except Problem as problem:
            if problem.kind not in (RUN_FINISHED, NOT_FOUND):
                raise
            return False
        return True

    async def cancel_all(self, runs: Iterable[RunKey], who: str, why: str) -> int:
        """Ask all of them to stop, a few at a time; returns how many there were to ask."""
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(run: RunKey) -> bool:
            async with places:
                return await self.cancel_if_active(run, who, why)

        asked = await asyncio.gather(*map(ask, runs), return_exceptions=True)
        for result in asked:
            if isinstance(result, BaseException):
                raise result
        return sum(map(bool, asked))

    async def wake(self, run: RunKey, standing: Standing, sequence: int) -> None:
        """Let a runner see what was appended at `sequence`: the one that has the run, else the next."""
        if standing.status is RunStatus.WAITING or standing.status.is_final:
            await self._log.requeue(run, cause=str(sequence))
            return
        try:
            await self._client.publish(nudge_subject(run), b"")
        except (NatsError, OSError) as error:
            log.info("the runner was not nudged, it will see the step later", error=str(error))

    async def keep(self, run: RunKey) -> None:
        """The run can go on from the broker's log, whenever it is woken."""
        await self.append(run, lambda standing: None)

    async def rewake(self, run: RunKey, cause: str) -> None:
        """Put a run that could go on into the queue once more; once for each cause."""
        await self.keep(run)
        await self._log.requeue(run, cause=cause)

    async def require_final(self, run: RunKey) -> None:
        """Raises Problem (409) for a run that goes on."""
        _stop_if_active(run, await self._standing(run))

    async def append_deletion(self, run: RunKey, who: str) -> int:
        """The run's log says from now on that the run is deleted; returns its place in the stream."""

        def decide(standing: Standing) -> Step:
            _stop_if_active(run, standing)
            return RunDeleted(**self.envelope(run, standing), who=who)

        _, sequence = await self.append(run, decide, is_last=True)
        return sequence

    async def append(
        self, run: RunKey, decide: Callable[[Standing], Step | None], *, is_last: bool = False
    ) -> tuple[Standing, int]:
        """Append what `decide` makes of the run as it stands; returns that and the log's new end.

        Unless it is the last step of all, the whole log is there for it, put back if need be.
        """
        for _ in range(MOST_CONFLICTS):
            standing = await self._standing(run)
            if not standing.lasts and not is_last:
                await self._put_back(run, standing, decide)
                continue
            step = decide(standing)
            if step is None:
                return standing, standing.position
            try:
                sealed = self._log.seal([step])
                return standing, await self._log.append(run, sealed, standing.position, patience_s=PATIENCE_S)
            except Conflict:
                await asyncio.sleep(CONFLICT_PAUSE_S)
        raise Unavailable("others wrote to the run's log all the time; try again")

    async def _put_back(
        self, run: RunKey, standing: Standing, decide: Callable[[Standing], Step | None]
    ) -> None:
        """For a step that is refused anyway nothing is put back: then `decide` raises."""
        state = standing.state if standing.state.request is not None else await self._runs.recorded(run)
        decide(replace(standing, state=state))
        root = state.request.root_run_id if state.request is not None else None
        await self._restoration.put_back(run, RunKey(run.project, root or run.run_id))

    async def _standing(self, run: RunKey) -> Standing:
        fold = await self._runs.fold(run)
        state = fold.state
        if state.deleted:
            raise no_such_run(run.run_id)
        if state.request is not None and not is_old(run):
            return Standing(state, fold.position)
        row = await self._runs.row(run)
        known = row.view.step_count if row.view is not None else 0
        if state.request is not None and known <= state.next_seq:
            is_idle = state.status is RunStatus.WAITING or state.status.is_final
            return Standing(state, fold.position, fold.lasts or not is_idle)
        if row.view is None or row.is_deleted:
            raise no_such_run(run.run_id)
        shown = RunState(status=row.view.status, next_seq=known, attempt=row.view.attempt)
        return Standing(shown, fold.position, lasts=False)

    def envelope(self, run: RunKey, standing: Standing) -> dict[str, Any]:
        return {
            "run_id": run.run_id,
            "seq": standing.state.next_seq,
            "at": now(),
            "project": run.project,
            "attempt": standing.state.attempt,
            "writer": self._log.writer,
        }


def _stop_if_active(run: RunKey, standing: Standing) -> None:
    if not standing.status.is_final:
        raise Problem(
            RUN_ACTIVE,
            f"the run is {standing.status}; cancel it first: POST /api/runs/{run.run_id}/cancel",
        )
