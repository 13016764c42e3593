"""What the gateway itself appends to a run's log, with compare-and-set: the wish to cancel, the deletion.

Erasing the content of deleted runs is in `erasure.py`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.gateway.problems import RUN_ACTIVE, RUN_FINISHED, Problem, no_such_run
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


@dataclass(frozen=True)
class Standing:
    """Where a run stands, as far as the next step of its log depends on it. `state`: None without its log."""

    status: RunStatus
    next_seq: int
    attempt: int
    position: int
    is_cancelled: bool
    state: RunState | None = None


class Lifecycle:
    """Methods raise Problem (404, 409) and Unavailable. `who` is written into the log."""

    def __init__(self, client: Client, run_log: RunLog, runs: Runs) -> None:
        self._client = client
        self._log = run_log
        self._runs = runs

    async def cancel(self, run: RunKey, who: str, why: str) -> RunStatus:
        """Ask the run's runner to stop; to ask again changes nothing. Returns the status so far."""

        def decide(standing: Standing) -> Step | None:
            if standing.status.is_final:
                raise Problem(RUN_FINISHED, f"the run is {standing.status}; there is nothing to cancel")
            if standing.state is None:
                raise Problem(
                    RUN_FINISHED, "the run's log is gone from the broker; no runner will go on with it"
                )
            if standing.is_cancelled:
                return None
            return CancelRequested(**self.envelope(run, standing), who=who, why=why)

        standing, sequence = await self.append(run, decide)
        await self.wake(run, standing, sequence)
        return standing.status

    async def cancel_if_active(self, run: RunKey, who: str, why: str) -> None:
        """As `cancel`; that the run has ended meanwhile is as good."""
        try:
            await self.cancel(run, who, why)
        except Problem as problem:
            if problem.kind is not RUN_FINISHED:
                raise

    async def wake(self, run: RunKey, standing: Standing, sequence: int) -> None:
        """Let a runner see what was appended at `sequence`: the one that has the run, else the next."""
        if standing.status is RunStatus.WAITING or standing.status.is_final:
            await self._log.requeue(run, cause=str(sequence))
            return
        try:
            await self._client.publish(nudge_subject(run), b"")
        except (NatsError, OSError) as error:
            log.info("the runner was not nudged, it will see the step later", error=str(error))

    async def require_final(self, run: RunKey) -> None:
        """Raises Problem (409) for a run that goes on."""
        _stop_if_active(run, await self._standing(run))

    async def append_deletion(self, run: RunKey, who: str) -> int:
        """The run's log says from now on that the run is deleted; returns its place in the stream."""

        def decide(standing: Standing) -> Step:
            _stop_if_active(run, standing)
            return RunDeleted(**self.envelope(run, standing), who=who)

        _, sequence = await self.append(run, decide)
        return sequence

    async def append(self, run: RunKey, decide: Callable[[Standing], Step | None]) -> tuple[Standing, int]:
        """Append what `decide` makes of the run as it stands; returns that and the log's new end."""
        for _ in range(MOST_CONFLICTS):
            standing = await self._standing(run)
            step = decide(standing)
            if step is None:
                return standing, standing.position
            try:
                sealed = self._log.seal([step])
                return standing, await self._log.append(run, sealed, standing.position, patience_s=PATIENCE_S)
            except Conflict:
                await asyncio.sleep(CONFLICT_PAUSE_S)
        raise Unavailable("others wrote to the run's log all the time; try again")

    async def _standing(self, run: RunKey) -> Standing:
        fold = await self._runs.fold(run)
        state = fold.state
        if state.deleted:
            raise no_such_run(run.run_id)
        if state.request is not None:
            is_cancelled = state.cancel is not None
            return Standing(state.status, state.next_seq, state.attempt, fold.position, is_cancelled, state)
        row = await self._runs.row(run)
        if row.view is None or row.is_deleted:
            raise no_such_run(run.run_id)
        view = row.view
        return Standing(view.status, view.step_count, view.attempt, fold.position, is_cancelled=False)

    def envelope(self, run: RunKey, standing: Standing) -> dict[str, Any]:
        return {
            "run_id": run.run_id,
            "seq": standing.next_seq,
            "at": now(),
            "project": run.project,
            "attempt": standing.attempt,
            "writer": self._log.writer,
        }


def _stop_if_active(run: RunKey, standing: Standing) -> None:
    if not standing.status.is_final:
        raise Problem(
            RUN_ACTIVE,
            f"the run is {standing.status}; cancel it first: POST /api/runs/{run.run_id}/cancel",
        )
