"""What has come of a replay so far, from its runs: the partial result, and in the end the whole one. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from statistics import fmean
from typing import Final

from services.replayer.measures import DIVERGED, GONE
from services.replayer.replay_runs import ReplayRun, most_runs
from shared.findings import Blame, Verdict
from shared.messages import ReplayRequested, WantedMetric
from shared.replay_results import (
    ArmResult,
    MetricSummary,
    ReplayResult,
    RunCounts,
    RunMeasures,
    SourceVerification,
    Trouble,
    Verification,
)
from shared.steps import RunStatus

MOST_NAMED: Final = 100
NOTHING: Final = RunMeasures()


def result(
    order: ReplayRequested,
    ended: Sequence[ReplayRun],
    planned: int,
    at: datetime,
    *,
    verdict: Verdict | None = None,
    blame: Blame | None = None,
) -> ReplayResult:
    """`ended` are the runs that have ended and are measured."""
    return ReplayResult(
        at=at,
        runs=_counts(order, ended, planned),
        arms=tuple(
            _arm(name, order.metrics, [run for run in ended if run.planned.arm == name])
            for name in (arm.name for arm in order.arms)
        ),
        verification=_verification(order, ended) if order.mode == "verify" else None,
        verdict=verdict,
        blame=blame,
        cost_usd=_cost(ended),
        unpriced=_unpriced(ended),
    )


def trouble(ended: Sequence[ReplayRun]) -> Trouble | None:
    """Why nothing came of the replay: every one of its runs is gone, or was never made."""
    errors = [run.measures.error if run.measures else None for run in ended]
    first = errors[0] if errors else None
    if first is None or any(error is None or error.type != GONE for error in errors):
        return None
    return Trouble(type=GONE, message=f"nothing came of all {len(ended)} runs: {first.message}")


def _counts(order: ReplayRequested, ended: Sequence[ReplayRun], planned: int) -> RunCounts:
    by_status = Counter(run.status for run in ended)
    return RunCounts(
        most=max(planned, most_runs(order)),
        planned=planned,
        ended=len(ended),
        completed=by_status[RunStatus.COMPLETED],
        failed=by_status[RunStatus.FAILED],
        cancelled=by_status[RunStatus.CANCELLED],
    )


def _arm(name: str, metrics: Iterable[WantedMetric], runs: Sequence[ReplayRun]) -> ArmResult:
    return ArmResult(
        name=name,
        runs=len(runs),
        failed=sum(run.status is RunStatus.FAILED for run in runs),
        cost_usd=_cost(runs),
        unpriced=_unpriced(runs),
        metrics=tuple(_metric(metric, runs) for metric in metrics),
    )


def _metric(metric: WantedMetric, runs: Sequence[ReplayRun]) -> MetricSummary:
    given = [_measures(run).values.get(metric.label) for run in runs]
    values = [value for value in given if value is not None]
    return MetricSummary(
        label=metric.label,
        n=len(values),
        missing=len(given) - len(values),
        mean=fmean(values) if values else None,
        least=min(values, default=None),
        greatest=max(values, default=None),
    )


def _verification(order: ReplayRequested, runs: Sequence[ReplayRun]) -> Verification:
    others = [run for run in runs if not ((verified := _measures(run).verified) and verified.equal)]
    diverged = sum(_diverged(_measures(run)) for run in others)
    return Verification(
        equal=len(runs) - len(others),
        diverged=diverged,
        failed=len(others) - diverged,
        not_equal=tuple(
            SourceVerification(
                source_run_id=run.planned.source(order),
                run_id=run.run_id,
                divergence=_measures(run).divergence,
                error=_measures(run).error,
            )
            for run in others[:MOST_NAMED]
        ),
    )


def _diverged(measures: RunMeasures) -> bool:
    told = measures.error is not None and measures.error.type == DIVERGED
    return told or (measures.verified is not None and not measures.verified.equal)


def _cost(runs: Iterable[ReplayRun]) -> Decimal:
    return sum((cost for run in runs if (cost := _measures(run).cost_usd) is not None), Decimal())


def _unpriced(runs: Iterable[ReplayRun]) -> int:
    return sum(_measures(run).cost_usd is None for run in runs)


def _measures(run: ReplayRun) -> RunMeasures:
    return run.measures or NOTHING
