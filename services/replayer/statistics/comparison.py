"""One metric of a candidate against the baseline: the means, how sure their difference is, and the
verdict."""

import sys

import numpy as np

from services.replayer.statistics.alignment import Arms, Values, align, mean
from services.replayer.statistics.evidence import Evidence, evidence
from services.replayer.statistics.observations import Observations
from services.replayer.statistics.power import samples_needed
from services.replayer.statistics.terms import Terms
from services.replayer.statistics.wording import describe
from shared.findings import ArmSummary, Comparison, Interval, Judgement, Metric

DEFAULT = Terms()


def compare(
    baseline: Observations, candidate: Observations, rng: np.random.Generator, terms: Terms = DEFAULT
) -> Comparison:
    """The same data, terms and state of `rng` give the same result; ValueError if the two measured
    different things."""
    if baseline.metric != candidate.metric:
        raise ValueError(
            f"both arms need the same metric, not {baseline.metric.name} and {candidate.metric.name}"
        )
    arms = align(baseline, candidate)
    found = evidence(arms, baseline.metric, rng, terms)
    verdict = _verdict(arms, baseline.metric, found, terms)
    comparison = Comparison(
        metric=baseline.metric,
        baseline=_summary(baseline, arms.counts[0], arms.scale, arms.baseline),
        candidate=_summary(candidate, arms.counts[1], arms.scale, arms.candidate),
        cases=arms.cases,
        unit=arms.unit,
        difference=None if arms.smallest == 0 else _finite(arms.difference * arms.scale),
        relative=_relative(arms),
        interval=found.interval and Interval(low=_finite(found.interval[0]), high=_finite(found.interval[1])),
        interval_method=found.method,
        confidence=1 - terms.level,
        p_value=found.p_value,
        test=found.test,
        verdict=verdict,
        samples_needed=samples_needed(arms, terms.planned) if verdict == "undecided" else None,
        words="",
    )
    return comparison.model_copy(update={"words": describe(comparison)})


def _verdict(arms: Arms, metric: Metric, found: Evidence, terms: Terms) -> Judgement:
    if not found.tells(terms.level):
        return "undecided"
    return "better" if (arms.difference > 0) == (metric.better == "higher") else "worse"


def _summary(observations: Observations, used: int, scale: float, values: Values) -> ArmSummary:
    present = sum(len(observations.present(case)) for case in observations.cases)
    return ArmSummary(
        n=used,
        missing=observations.missing,
        unpaired=present - used,
        mean=mean(values) * scale if len(values) else None,
    )


def _relative(arms: Arms) -> float | None:
    """As a share of the baseline's mean; None where that is zero."""
    base = abs(mean(arms.baseline)) if arms.smallest else 0.0
    return _finite(arms.difference / base) if base else None


def _finite(value: float) -> float:
    return min(max(value, -sys.float_info.max), sys.float_info.max)
