"""Replays as the routes need them: ordered, looked at, waited for, cancelled; the lineage of runs.

Until the replayer has taken an order up, the order itself says all that there is of the replay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID

from services.gateway.cursor import encode_cursor
from services.gateway.reads import answered
from services.gateway.replaying.orders import Orders, Wish
from services.gateway.replaying.work import Work
from services.gateway.replays import reads, refusals
from services.gateway.replays.lineage import alone, lineage
from services.gateway.replays.reads import ReplayFilter, StoredDiff
from services.gateway.replays.views import Lineage, ReplayDetail, ReplayRun, ReplaySummary
from services.gateway.views import RunView
from shared.database import Database
from shared.messages import ReplayCancelled, ReplayRequested
from shared.replay_results import ReplayStatus
from shared.steps import now
from shared.subjects import RunKey

LIST_PATIENCE_S: Final = 10.0
FIRST_RUNS: Final = 50
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
FINAL: Final = frozenset({"completed", "failed", "cancelled"})
Result = TypeVar("Result")


class Replays:
    """Methods raise Problem and Unavailable."""

    def __init__(self, orders: Orders, work: Work, database: Database) -> None:
        self._orders = orders
        self._work = work
        self._database = database

    async def place(self, wish: Wish, replay_id: UUID, *, is_known: bool) -> ReplayStatus:
        """Returns once the order is on disk, with the replay's status. `is_known`: it may be there."""
        if is_known and (status := await self._known_status(wish.project, replay_id)) is not None:
            return status
        await self._work.tell(await self._orders.make(wish, str(replay_id)))
        return "queued"

    async def page(
        self, project: str, wanted: ReplayFilter, before: UUID | None, limit: int
    ) -> list[ReplaySummary]:
        """Those that the replayer has taken up, newest first."""
        return await self._read(
            partial(reads.replays, project=project, wanted=wanted, before=before, limit=limit)
        )

    async def get(self, project: str, replay_id: UUID) -> ReplayDetail:
        """With its first runs."""
        found = await self._read(
            partial(reads.replay, project=project, replay_id=replay_id, most_runs=FIRST_RUNS + 1)
        )
        if found is None:
            order = await self._work.order(project, str(replay_id))
            if order is None:
                raise refusals.no_such_replay(str(replay_id))
            return _waiting(order)
        if len(found.items) <= FIRST_RUNS:
            return found
        first = found.items[:FIRST_RUNS]
        return found.model_copy(update={"items": first, "next_cursor": encode_cursor(first[-1].run_id)})

    async def runs(self, project: str, replay_id: UUID, after: UUID | None, limit: int) -> list[ReplayRun]:
        """In the order of their ids."""
        found = await self._read(
            partial(reads.runs, project=project, replay_id=replay_id, after=after, limit=limit)
        )
        if not found:
            await self.status(project, replay_id)
        return found

    async def diff(self, project: str, replay_id: UUID, run_id: UUID | None = None) -> StoredDiff:
        """How that run of the replay differs from its source; of the first that has a diff without one."""
        found = await self._read(partial(reads.diff, project=project, replay_id=replay_id, run_id=run_id))
        if found is None:
            raise refusals.no_such_diff(str(run_id or replay_id))
        return found

    async def status(self, project: str, replay_id: UUID) -> ReplayStatus:
        status = await self._known_status(project, replay_id)
        if status is None:
            raise refusals.no_such_replay(str(replay_id))
        return status

    async def ended(self, project: str, replay_id: UUID, seconds: float) -> ReplayDetail:
        """The replay once it has ended. Raises Problem (504) when it goes on after that many seconds."""
        deadline, pause_s = monotonic() + seconds, FIRST_PAUSE_S
        while await self.status(project, replay_id) not in FINAL:
            if monotonic() + pause_s > deadline:
                raise refusals.unfinished(str(replay_id))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        return await self.get(project, replay_id)

    async def cancel(self, project: str, replay_id: UUID, who: str) -> ReplayStatus:
        """Start none of its runs any more, and stop those that go on; to ask again changes nothing."""
        status = await self.status(project, replay_id)
        if status in FINAL:
            raise refusals.finished(status)
        message = ReplayCancelled(replay_id=str(replay_id), project=project, at=now(), who=who)
        await self._work.tell(message)
        return status

    async def lineage(self, view: RunView, project: str) -> Lineage:
        """`view`: of the run whose origin and replays are asked for."""
        found = await self._read(partial(lineage, run=RunKey(project, view.run_id)))
        return found or alone(view)

    async def _known_status(self, project: str, replay_id: UUID) -> ReplayStatus | None:
        status = await self._read(partial(reads.status, project=project, replay_id=replay_id))
        return status or ("queued" if await self._work.order(project, str(replay_id)) else None)

    async def _read(self, read: Callable[..., Awaitable[Result]]) -> Result:
        return await answered(self._database, read, LIST_PATIENCE_S)


def _waiting(order: ReplayRequested) -> ReplayDetail:
    """A replay that the replayer has not taken up."""
    return ReplayDetail(
        replay_id=order.replay_id,
        mode=order.mode,
        status="queued",
        run_id=order.sources[0],
        sources=len(order.sources),
        arms=tuple(arm.name for arm in order.arms),
        samples=order.samples,
        fork_step=order.fork_step,
        metadata=order.metadata,
        created_at=order.at,
        finished_at=None,
        runs=None,
        words=None,
        error=None,
        order=order,
        result=None,
        items=(),
        next_cursor=None,
        diff=None,
    )
