"""From the runs of a replay to the samples that the statistics compare, and to the step to blame. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import numpy as np

from services.replayer.measures import GONE
from services.replayer.replay_runs import ReplayRun, most_runs
from services.replayer.statistics.bisection import Forks, next_forks
from services.replayer.statistics.blame import blame
from services.replayer.statistics.observations import Observations
from services.replayer.statistics.schedule import Look, looks
from services.replayer.statistics.search import Search
from services.replayer.statistics.terms import Terms
from services.replayer.statistics.verdict import judge
from shared.findings import Blame, Verdict
from shared.findings import Metric as Measured
from shared.fork import START, fork_points
from shared.messages import MetricName, ReplayRequested, WantedMetric
from shared.steps import AgentThought, RunStatus, Step, UserRequest

UNITS: Final[dict[MetricName, str]] = {"cost_usd": "USD", "latency_ms": "ms", "tokens": "tokens"}
LEAST_CONFIDENCE: Final = 0.51
"""A culprit that is less probable than all others together is none."""
BINARY: Final = frozenset({"success", "exact", "contains"})


def schedule(order: ReplayRequested) -> tuple[Look, ...]:
    """When the samples are looked at; without early stopping, at the end alone."""
    cases, candidates = len(order.sources), max(1, len(order.arms) - 1)
    error = 1 - order.confidence
    if order.stop_early:
        return looks(order.samples, cases=cases, candidates=candidates, error=error)
    level = error / candidates
    return (Look(runs=order.samples * cases, more_runs=0, terms=Terms(level=level, planned=level)),)


def verdict(
    order: ReplayRequested, runs: Iterable[ReplayRun], look: Look, earlier: Verdict | None
) -> Verdict:
    """The first arm against those that no earlier look has decided about. Chance follows from the replay and
    the look, so that the same runs give the same verdict."""
    counted = [run for run in runs if number(order, run) < look.runs]
    metrics = [_measured(metric, counted) for metric in order.metrics]
    arms = {
        arm.name: [
            _observations(order, arm.name, metric, measured, counted)
            for metric, measured in zip(order.metrics, metrics, strict=True)
        ]
        for arm in order.arms
    }
    baseline, *candidates = order.arms
    rng = np.random.default_rng([UUID(order.replay_id).int, look.runs])
    others = {arm.name: arms[arm.name] for arm in candidates}
    return judge(arms[baseline.name], others, look, rng, earlier)


def number(order: ReplayRequested, run: ReplayRun) -> int:
    """Of the run within its arm (see `replay_runs.samples`)."""
    return run.planned.sample * len(order.sources) + run.planned.place


def search(order: ReplayRequested, runs: Sequence[ReplayRun], points: Sequence[int]) -> Search:
    """Where the search for the step to blame stands. Runs that are gone or were cancelled say nothing."""
    tallies: dict[int, tuple[int, int]] = {}
    for run in runs:
        if run.planned.fork_step is None or not _counts(run):
            continue
        successes, tries = tallies.get(run.planned.fork_step, (0, 0))
        tallies[run.planned.fork_step] = successes + _succeeded(order, run), tries + 1
    return Search(
        points=tuple(points),
        tallies=tallies,
        runs_left=max(0, most_runs(order) - len(runs)),
        runs_per_point=order.samples,
        confidence=max(order.confidence, LEAST_CONFIDENCE),
    )


def suspect(found: Search) -> tuple[Blame, Forks | None]:
    """Which step is to blame as far as is known, and where to fork next."""
    return blame(found), next_forks(found)


def blame_points(steps: Sequence[Step]) -> list[int]:
    """The steps behind which the model is asked next: from there on everything is left to chance."""
    passive = {step.seq for step in steps if isinstance(step, AgentThought | UserRequest)}
    return [point for point in fork_points(steps) if point == START or point not in passive]


def succeeds(order: ReplayRequested, value: float | None) -> bool:
    """Whether this value of the first metric is a success, by the order's threshold; none is none."""
    if value is None:
        return False
    return value >= order.threshold if order.metrics[0].higher_is_better else value <= order.threshold


def _counts(run: ReplayRun) -> bool:
    is_gone = run.measures is None or (run.measures.error is not None and run.measures.error.type == GONE)
    return run.status is not RunStatus.CANCELLED and not is_gone


def _succeeded(order: ReplayRequested, run: ReplayRun) -> bool:
    if not order.metrics or run.measures is None:
        return run.status is RunStatus.COMPLETED
    return succeeds(order, _value(run, order.metrics[0]))


def _measured(metric: WantedMetric, runs: Iterable[ReplayRun]) -> Measured:
    """An expression that has only given true and false is a binary metric."""
    values = {value for run in runs if (value := _value(run, metric)) is not None}
    return Measured(
        name=metric.label,
        better="higher" if metric.higher_is_better else "lower",
        unit=UNITS.get(metric.name, ""),
        binary=metric.name in BINARY or (metric.name == "expression" and values <= {0.0, 1.0}),
    )


def _observations(
    order: ReplayRequested, arm: str, metric: WantedMetric, measured: Measured, runs: Iterable[ReplayRun]
) -> Observations:
    cases: dict[str, list[float | None]] = {source: [] for source in order.sources}
    for run in sorted(runs, key=lambda run: run.planned.sample):
        if run.planned.arm == arm:
            cases[run.planned.source(order)].append(_value(run, metric))
    return Observations(metric=measured, cases={case: tuple(values) for case, values in cases.items()})


def _value(run: ReplayRun, metric: WantedMetric) -> float | None:
    return run.measures.values.get(metric.label) if run.measures is not None else None
