"""Measuring a run of a replay once it has ended: its metrics, and how it differs from its source."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from services.replayer.expressions import Expressions, Refused
from services.replayer.logs import Gone, Logs, Run
from services.replayer.measures import (
    NOT_ENDED,
    Facts,
    cost,
    expected_of,
    facts,
    gone,
    measures,
    value_of,
    void,
    with_asked,
)
from services.replayer.replay_runs import ReplayRun, most_runs
from shared.asked_runs import asked_runs
from shared.diff import RunDiff, diff_runs
from shared.divergence import first_divergence
from shared.errors import StudioError, Unavailable
from shared.messages import ReplayRequested, WantedMetric
from shared.model_request import JsonObject
from shared.price_book import PriceBook
from shared.replay_results import RunMeasures, Trouble
from shared.steps import Divergence, RunStatus, now
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

FEW_RUNS: Final = 16
MOST_DIFFS: Final = 100
"""Of a replay of few runs each is compared with its source; else the first sample of each arm, of so many
sources."""


COMPARING_S: Final = 20.0
MOST_STEPS: Final = 10_000
"""Of two runs that are compared."""


class TooLong(StudioError):
    """The runs are not compared with each other."""


@dataclass(frozen=True)
class Measured:
    status: RunStatus
    measures: RunMeasures
    diff: RunDiff | None = None


class Measuring:
    """`limit_s`: how long a run may go on."""

    def __init__(self, book: PriceBook, expressions: Expressions, limit_s: float) -> None:
        self._book = book
        self._expressions = expressions
        self._limit = timedelta(seconds=limit_s)

    async def measure(
        self, order: ReplayRequested, run: ReplayRun, logs: Logs, *, compare: bool = True
    ) -> Measured | None:
        """None: the run goes on (it was retried after its end). Raises Unavailable."""
        try:
            read = await logs.run(RunKey(order.project, run.run_id))
        except Gone as error:
            return Measured(RunStatus.FAILED, gone(str(error), order.metrics))
        if read.state.finished is None:
            return self._unended(order, run)
        measured = await self.measures(read, order.metrics, run.planned.source(order), logs)
        if not compare or order.mode == "verify":
            return Measured(read.state.status, measured)
        return await self._compared(order, run, read, logs, measured)

    async def measures(
        self, run: Run, metrics: Sequence[WantedMetric], source: str, logs: Logs
    ) -> RunMeasures:
        """Of a run that has ended; `source` is whose answer was expected."""
        own = await asyncio.to_thread(facts, run.state, run.steps, self._book)
        known = with_asked(own, await self._asked(run, logs))
        if (why := void(run.state)) is not None:
            return gone(why, metrics, cost_usd=known.cost_usd)
        values: dict[str, float | None] = {}
        faults: dict[str, str] = {}
        for metric in metrics:
            expected = expected_of(metric, source)
            value, fault = await self._value(metric, replace(known, expected=expected))
            values[metric.label] = value
            if fault is not None:
                faults[metric.label] = fault
        return measures(run.state, known).model_copy(update={"values": values, "faults": faults})

    async def _asked(self, run: Run, logs: Logs) -> list[Facts] | None:
        """The runs that answered its calls, and theirs; None: one of them is gone."""
        found: list[Facts] = []
        waiting = [run]
        while waiting:
            for key in asked_runs(waiting.pop().steps):
                try:
                    waiting.append(await logs.run(key))
                except Gone:
                    return None
                answered = waiting[-1]
                found.append(await asyncio.to_thread(facts, answered.state, answered.steps, self._book))
        return found

    def _unended(self, order: ReplayRequested, run: ReplayRun) -> Measured | None:
        if run.requested_at is None or now() - run.requested_at < self._limit:
            return None
        words = f"it has not ended within {self._limit.total_seconds():g} s, and was cancelled"
        error = Trouble(type=NOT_ENDED, message=words)
        return Measured(RunStatus.FAILED, gone(words, order.metrics).model_copy(update={"error": error}))

    async def _value(self, metric: WantedMetric, known: Facts) -> tuple[float | None, str | None]:
        if metric.name != "expression":
            return value_of(metric, known)
        try:
            return await self._expressions.value(metric.expression or "", known.inputs()), None
        except Refused as error:
            return None, f"the expression: {error}"

    async def _compared(
        self, order: ReplayRequested, run: ReplayRun, read: Run, logs: Logs, measured: RunMeasures
    ) -> Measured:
        """With the diff and the divergence of a run that asked a model."""
        try:
            source = await logs.run(RunKey(order.project, run.planned.source(order)))
            history = await logs.history(source)
            async with asyncio.timeout(COMPARING_S):
                divergence, diff = await asyncio.to_thread(
                    self._differences, source, read, history, with_diff=_wants_diff(order, run)
                )
        except Exception as error:
            if isinstance(error, Unavailable):
                raise
            log.warning("a run cannot be compared with its source", run_id=run.run_id, error=str(error))
            faults = {**measured.faults, "diff": f"{type(error).__name__}: {error}"}
            return Measured(read.state.status, measured.model_copy(update={"faults": faults}))
        return Measured(read.state.status, measured.model_copy(update={"divergence": divergence}), diff)

    def _differences(
        self, source: Run, replay: Run, history: list[JsonObject], *, with_diff: bool
    ) -> tuple[Divergence | None, RunDiff | None]:
        if len(source.steps) + len(replay.steps) > MOST_STEPS:
            raise TooLong(f"they have more than {MOST_STEPS} steps together; GET /api/diff compares them")
        divergence = first_divergence(source.steps, replay.steps, history)
        if not with_diff:
            return divergence, None
        left, right = (cost(each.steps, self._book) for each in (source, replay))
        return divergence, diff_runs(source.steps, replay.steps, left_usd=left, right_usd=right)


def _wants_diff(order: ReplayRequested, run: ReplayRun) -> bool:
    return most_runs(order) <= FEW_RUNS or (run.planned.sample == 0 and run.planned.place < MOST_DIFFS)
