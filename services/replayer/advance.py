"""One look at a replay: what has ended is measured, what is planned is requested, what is next is decided.

All of it happens in one transaction that holds the replay's row, so that of several replayers one does it.
Runs are planned in one transaction and requested in a later one: what is on the bus is in the table before,
or its end could come while nobody waits for it. Whatever is cut off is done again by the next look: ids
follow from the order, and a run that was requested already is not requested twice.
"""

import asyncio
from time import monotonic
from typing import Final

import structlog
from nats.aio.client import Client
from prometheus_client import Counter, Histogram

from services.replayer.course import Course, next_course
from services.replayer.launcher import Launcher
from services.replayer.logs import Gone, Logs
from services.replayer.measuring import Measuring
from services.replayer.replay_runs import ReplayRun, most_runs
from services.replayer.settings import Settings
from services.replayer.store import replays, runs
from services.replayer.store.replays import Replay
from services.replayer.summary import result, trouble
from services.replayer.verdicts import blame_points, succeeds
from shared.database import Connection, Database
from shared.derived_ids import derived_id
from shared.errors import StudioError
from shared.findings import Blame, Verdict
from shared.messages import ReplayRequested
from shared.replay_results import ReplayStatus, Trouble
from shared.run_log import RunLog
from shared.steps import now
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

LOOK_S: Final = 2.0
"""How long a look goes on measuring: it holds the replay's row."""
TELL_S: Final = 1.0
"""How often what has come of a replay so far is written."""
MEASURED: Final = Counter("studio_replay_runs_measured_total", "Runs of replays that were measured.")
SECONDS: Final = Histogram("studio_replay_advance_seconds", "Time of one look at a replay.")


class CannotBlame(StudioError):
    """There is no step to blame for what the run came to; the message says why."""


class Advance:
    def __init__(
        self, database: Database, client: Client, run_log: RunLog, measuring: Measuring, settings: Settings
    ) -> None:
        self._database = database
        self._log = run_log
        self._measuring = measuring
        self._launcher = Launcher(client, run_log, settings.replayer_parallel)
        self._parallel = settings.replayer_parallel
        self._most = settings.replayer_most_runs

    async def look(self, replay_id: str) -> bool:
        """Whether there is more to do at once. Raises Unavailable, and Permanent for what can never be."""
        with SECONDS.time():
            async with self._database.transaction() as connection:
                replay = await replays.lock(connection, replay_id)
                if replay is None:
                    return False
                if (refusal := self._refusal(replay)) is not None:
                    await replays.finish(connection, replay_id, "failed", error=refusal)
                    return False
                return await self._go_on(connection, replay)

    async def give_up(self, replay_id: str, why: str) -> None:
        """End a replay that nobody can go on with. Raises Unavailable."""
        async with self._database.transaction() as connection:
            error = Trouble(type="broken", message=why)
            await replays.finish(connection, replay_id, "failed", error=error)

    async def _go_on(self, connection: Connection, replay: Replay) -> bool:
        logs, replay_id = Logs(self._log), replay.order.replay_id
        measured = await self._measure(connection, replay, logs)
        if replay.status == "cancelling":
            await self._launcher.call_off(connection, replay)
        else:
            await self._launcher.request(connection, replay, logs)
        if not await runs.is_open(connection, replay_id):
            return await self._decide(connection, replay, logs)
        if replay.result is None or (now() - replay.result.at).total_seconds() > TELL_S:
            await self._tell(connection, replay)
        return measured

    async def _measure(self, connection: Connection, replay: Replay, logs: Logs) -> bool:
        """Some of the runs that have ended; returns whether others may have."""
        order = replay.order
        over = await runs.over(connection, order.replay_id, self._parallel)
        until, is_wanted = monotonic() + LOOK_S, replay.status != "cancelling"
        for run in over:
            if monotonic() > until:  # whoever wants to call it off must not wait long
                break
            measured = await self._measuring.measure(order, run, logs, compare=is_wanted)
            if measured is None:
                await runs.goes_on(connection, run.run_id)
                continue
            await runs.end(connection, run.run_id, measured.status, measured.measures)
            MEASURED.inc()
            if measured.diff is not None:
                diff_id = derived_id(order.at, f"diff:{run.run_id}")
                await replays.add_diff(connection, replay, diff_id, measured.diff)
        return len(over) == self._parallel or monotonic() > until

    async def _decide(self, connection: Connection, replay: Replay, logs: Logs) -> bool:
        """All that was planned has ended: plan more, or finish."""
        order, ended = replay.order, await runs.ended(connection, replay.order.replay_id)
        if replay.status == "cancelling":
            course = Course((), *_known(replay))
        else:
            try:
                course = await self._course(replay, ended, logs)
            except CannotBlame as error:
                why = Trouble(type="cannot-blame", message=str(error))
                await replays.finish(connection, order.replay_id, "failed", error=why)
                return False
        planned = len(ended) + len(course.plan)
        told = result(order, ended, planned, now(), verdict=course.verdict, blame=course.blame)
        if course.plan:
            await runs.plan(connection, order, course.plan)
            await replays.begin(connection, order.replay_id)
            await replays.tell(connection, order.replay_id, told)
            return True
        failure = trouble(ended) if replay.status != "cancelling" else None
        status: ReplayStatus = "failed" if failure else "completed"
        if replay.status == "cancelling":
            status = "cancelled"
        await replays.finish(connection, order.replay_id, status, told, failure)
        log.info("replay ended", replay_id=order.replay_id, status=status, runs=len(ended))
        return False

    async def _course(self, replay: Replay, ended: list[ReplayRun], logs: Logs) -> Course:
        """Raises CannotBlame and Unavailable."""
        order, points = replay.order, list[int]()
        if order.mode == "blame":
            points = await self._blame_points(order, logs)
        verdict, _ = _known(replay)
        return await asyncio.to_thread(next_course, order, ended, verdict, points)

    async def _blame_points(self, order: ReplayRequested, logs: Logs) -> list[int]:
        """Raises CannotBlame and Unavailable."""
        try:
            source = await logs.run(RunKey(order.project, order.sources[0]))
        except Gone as error:
            raise CannotBlame(str(error)) from error
        measures = await self._measuring.measures(source, order.metrics[:1], order.sources[0], logs)
        for metric in order.metrics[:1]:
            if succeeds(order, value := measures.values[metric.label]):
                raise CannotBlame(f"by {metric.label} ({value:g}) the run is a success: no step is to blame")
        return blame_points(source.steps)

    async def _tell(self, connection: Connection, replay: Replay) -> None:
        replay_id = replay.order.replay_id
        ended, planned = await runs.ended(connection, replay_id), await runs.count(connection, replay_id)
        verdict, blame = _known(replay)
        told = result(replay.order, ended, planned, now(), verdict=verdict, blame=blame)
        await replays.tell(connection, replay_id, told)

    def _refusal(self, replay: Replay) -> Trouble | None:
        order = replay.order
        if not order.sources or not order.arms:
            return Trouble(type="empty", message="the order names no run to replay, or no arm")
        if most_runs(order) > self._most:
            words = f"the replay would come to {most_runs(order):,} runs; at most {self._most:,} are allowed"
            return Trouble(type="too-many-runs", message=words)
        return None


def _known(replay: Replay) -> tuple[Verdict | None, Blame | None]:
    """What the last look at the samples has found."""
    told = replay.result
    return (told.verdict, told.blame) if told is not None else (None, None)
