"""Putting the runs of a replay into the queue, a few at a time, and asking them to stop.

Repeating either is harmless: ids follow from the order, and a run that was requested is not requested twice.
"""

from decimal import Decimal
from typing import Final

import structlog
from nats.aio.client import Client
from prometheus_client import Counter

from services.replayer.logs import Gone, Logs
from services.replayer.measures import gone
from services.replayer.replay_runs import ReplayRun
from services.replayer.requests import run_request
from services.replayer.store import runs
from services.replayer.store.replays import Replay
from shared.cancellation import cancel
from shared.database import Connection
from shared.earlier_runs import told_at
from shared.errors import Conflict, Permanent
from shared.run_log import RunLog
from shared.run_state import LogGap
from shared.steps import RunStatus
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

REQUESTED: Final = Counter("studio_replay_runs_requested_total", "Runs that replays have requested.")


class Launcher:
    """`parallel`: so many runs of one replay are under way at once. Methods raise Unavailable."""

    def __init__(self, client: Client, run_log: RunLog, parallel: int) -> None:
        self._client = client
        self._log = run_log
        self._parallel = parallel

    async def request(self, connection: Connection, replay: Replay, logs: Logs) -> None:
        """As many of the planned runs as there is room for; those that cannot be made have ended."""
        done = []
        for run in await runs.waiting(connection, replay.order.replay_id, self._parallel):
            try:
                await self._request_run(replay, run, logs)
            except (Gone, Permanent) as error:
                measures = gone(str(error), replay.order.metrics, cost_usd=Decimal())
                await runs.end(connection, run.run_id, RunStatus.FAILED, measures)
            else:
                done.append(run.run_id)
        await runs.requested(connection, done)
        REQUESTED.inc(len(done))

    async def _request_run(self, replay: Replay, run: ReplayRun, logs: Logs) -> None:
        order = replay.order
        source = await logs.run(RunKey(order.project, run.planned.source(order)))
        told = told_at(source.steps)
        step = run_request(order, run.planned, source.request, self._log.writer, told)
        try:
            await self._log.request(RunKey(order.project, run.run_id), self._log.seal([step]))
        except Conflict:
            log.info("this run was requested before a crash, or by another replayer", run_id=run.run_id)

    async def call_off(self, connection: Connection, replay: Replay) -> None:
        """Ask its runs to stop, also those that a look that was cut off may have requested."""
        order = replay.order
        perhaps = await runs.waiting(connection, order.replay_id, self._parallel)
        await runs.forget_waiting(connection, order.replay_id)
        for run in [*perhaps, *await runs.under_way(connection, order.replay_id)]:
            key, who = RunKey(order.project, run.run_id), f"replay {order.replay_id}"
            try:
                await cancel(self._client, self._log, key, who=who, why="the replay was cancelled")
            except LogGap as error:  # nor is its end awaited for ever
                log.warning("a run of a replay cannot be cancelled", run_id=run.run_id, error=str(error))
