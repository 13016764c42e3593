"""Which interval and which test suit the data, and what they say. Differences are candidate minus
baseline."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.replayer.statistics import intervals, significance
from services.replayer.statistics.alignment import NO_SPREAD, Arms
from services.replayer.statistics.intervals import Interval
from services.replayer.statistics.terms import Terms
from shared.findings import Metric


@dataclass(frozen=True)
class Evidence:
    """An interval of the difference, where the data bear one, and a p-value, with the names of what gave
    them."""

    interval: Interval | None
    method: str
    p_value: float
    test: str

    def mirrored(self) -> "Evidence":
        interval = self.interval and (-self.interval[1], -self.interval[0])
        return Evidence(interval, self.method, self.p_value, self.test)

    def tells(self, level: float) -> bool:
        """Whether there is a difference: the test says so, and the interval, where there is one."""
        excludes = self.interval is None or self.interval[0] > 0 or self.interval[1] < 0
        return self.p_value <= level and excludes


NOTHING: Final = Evidence(None, "none", 1.0, "none")


def evidence(arms: Arms, metric: Metric, rng: np.random.Generator, terms: Terms) -> Evidence:
    if arms.smallest == 0:
        return NOTHING
    if arms.difference < 0:  # one way round, so that chance and rounding treat both arms alike
        return _rising(arms.swapped(), metric, rng, terms).mirrored()
    return _rising(arms, metric, rng, terms)


def _rising(arms: Arms, metric: Metric, rng: np.random.Generator, terms: Terms) -> Evidence:
    if metric.binary and arms.unit != "case":
        return _independent_shares(arms, terms) if arms.unit == "sample" else _paired_shares(arms, terms)
    return NOTHING if arms.smallest == 1 else _means(arms, metric, rng, terms)


def _independent_shares(arms: Arms, terms: Terms) -> Evidence:
    baseline, candidate = ((round(row.sum()), len(row)) for row in (arms.baseline, arms.candidate))
    test, p_value = significance.two_proportions(baseline, candidate)
    return Evidence(intervals.newcombe(baseline, candidate, terms.level), "Newcombe", p_value, test)


def _paired_shares(arms: Arms, terms: Terms) -> Evidence:
    gained, lost = int((arms.differences > 0).sum()), int((arms.differences < 0).sum())
    interval = intervals.bonett_price(gained, lost, len(arms.differences), terms.level)
    return Evidence(interval, "Bonett-Price", significance.mcnemar(gained, lost), "McNemar")


def _means(arms: Arms, metric: Metric, rng: np.random.Generator, terms: Terms) -> Evidence:
    test, p_value = _tested(arms, rng, terms.resamples)
    span = metric.span and (metric.span[0] / arms.scale, metric.span[1] / arms.scale)
    if all(np.ptp(row) <= NO_SPREAD for row in arms.rows):
        interval, method = (_unseen(arms, span, terms.level), "unseen values") if span else (None, "none")
    else:
        interval, method = _bootstrapped(arms, rng, terms), "studentized bootstrap"
    if interval and span:
        width = span[1] - span[0]
        interval = max(interval[0], -width), min(interval[1], width)
    return Evidence(interval and (interval[0] * arms.scale, interval[1] * arms.scale), method, p_value, test)


def _tested(arms: Arms, rng: np.random.Generator, resamples: int) -> tuple[str, float]:
    if arms.unit == "sample":
        return "permutation", significance.permutation(arms.baseline, arms.candidate, rng, resamples)
    return "sign-flip permutation", significance.sign_flips(arms.differences, rng, resamples)


def _bootstrapped(arms: Arms, rng: np.random.Generator, terms: Terms) -> Interval:
    if arms.unit == "sample":
        return intervals.independent_means(arms.baseline, arms.candidate, terms.level, rng, terms.resamples)
    return intervals.paired_means(arms.differences, terms.level, rng, terms.resamples)


def _unseen(arms: Arms, span: Interval, level: float) -> Interval:
    if arms.unit != "sample":
        width = span[1] - span[0]
        return intervals.unseen(float(arms.differences[0]), len(arms.differences), (-width, width), level)
    left, right = (intervals.unseen(float(row[0]), len(row), span, level / 2) for row in arms.rows)
    return right[0] - left[1], right[1] - left[0]
