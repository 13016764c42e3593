"""Starting a run and waiting for its end: what `?wait=`, chat and `POST /run` share."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from services.gateway.backlog.queue import Backlog
from services.gateway.hub import Hub
from services.gateway.metrics import REPLAYED
from services.gateway.outcome import Ending, Outcome
from services.gateway.runs import Runs
from services.gateway.starter import Order, Prepared, Starter
from services.gateway.views import Cost, RunView
from shared.errors import Unavailable
from shared.steps import Step
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

CHARGES_PATIENCE_S: Final = 2.0
CHARGES_PAUSE_S: Final = 0.05
STALE_PAUSE_S: Final = 0.05


class Waiter:
    """Methods raise Problem and Unavailable as `Starter` and `Runs` do."""

    def __init__(self, hub: Hub, runs: Runs, starter: Starter, backlog: Backlog) -> None:
        self._hub = hub
        self._runs = runs
        self._starter = starter
        self._backlog = backlog

    async def start(self, order: Order) -> Prepared:
        """Returns once the run is on disk."""
        prepared = await self._starter.prepare(order)
        await self._request(prepared)
        return prepared

    async def start_and_wait(
        self, order: Order, seconds: float, on_step: Callable[[Step], None] | None = None
    ) -> tuple[RunView, bool]:
        """The run when it has finished, or as it is after that many seconds; and whether it is a replay."""
        prepared = await self._starter.prepare(order)
        if prepared.is_replay:
            await self._request(prepared)
            return await self._join(prepared.key, seconds), True
        outcome = Outcome(prepared.request, on_step)
        async with self._hub.watching(prepared.key, outcome, is_new=True):
            await self._request(prepared)
            await outcome.wait(seconds)
        if outcome.is_broken:
            return (await self._runs.find(prepared.key)).view, False
        return await self._runs.view(outcome.state, Cost()), False

    async def _request(self, prepared: Prepared) -> None:
        """To the broker, or among those that wait for their turn there."""
        if prepared.is_replay and await self._backlog.has(prepared.key):
            REPLAYED.inc()
            return
        step, priority = prepared.sealed.encoded[0], prepared.request.priority
        if prepared.is_replay or not await self._backlog.takes(prepared.key, step, priority):
            await self._starter.request(prepared)

    async def charged(self, run: RunKey, model_calls: int) -> Cost:
        """The cost of a finished run, once each of its model calls is charged or the patience is over."""
        deadline = monotonic() + CHARGES_PATIENCE_S
        try:
            cost = await self._runs.cost(run)
            while (cost.charged or 0) < model_calls and monotonic() < deadline:
                await asyncio.sleep(CHARGES_PAUSE_S)
                cost = await self._runs.cost(run)
        except Unavailable as error:
            log.info("the charges of a run are not known", run_id=run.run_id, error=str(error))
            return Cost()
        return cost

    async def _join(self, run: RunKey, seconds: float) -> RunView:
        """As `start_and_wait`, for a run that was started before."""
        ending = Ending()
        deadline = monotonic() + seconds
        async with self._hub.watching(run, ending):
            while True:
                view = (await self._runs.find(run)).view
                left = deadline - monotonic()
                if view.status.is_final or ending.is_closed or left <= 0:
                    return view
                if ending.is_seen:  # heard of but not read: the replica that answered is behind
                    await asyncio.sleep(STALE_PAUSE_S)
                else:
                    await ending.wait(left)
