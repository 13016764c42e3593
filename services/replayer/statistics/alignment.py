"""Which values of two arms stand against each other: single samples, pairs of samples, or the means of
cases."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.replayer.statistics.observations import Observations
from shared.findings import Metric, Unit

Values = NDArray[np.float64]

ENOUGH_CASES: Final = 12
"""From so many cases on, the cases are the sample, and what is found holds for prompts like these. No test
of fewer cases could reach the levels of a schedule (2 ** -11 = 0.0005): with fewer it holds for these very
prompts."""

NO_SPREAD: Final = 1e-12
"""Below it, differences of numbers below 2 are those of rounding."""


@dataclass(frozen=True)
class Arms:
    """Two rows of numbers, divided by `scale` so that none reaches 2. In pairs and cases, the numbers at
    the same place belong together. `counts` says how many values of each arm are in them."""

    baseline: Values
    candidate: Values
    scale: float
    unit: Unit
    cases: int
    counts: tuple[int, int]

    @property
    def differences(self) -> Values:
        return self.candidate - self.baseline

    @property
    def difference(self) -> float:
        return mean(self.candidate) - mean(self.baseline)

    @property
    def rows(self) -> tuple[Values, ...]:
        """What is drawn from: the differences, or each arm on its own."""
        return (self.baseline, self.candidate) if self.unit == "sample" else (self.differences,)

    def swapped(self) -> "Arms":
        return replace(self, baseline=self.candidate, candidate=self.baseline)

    @property
    def smallest(self) -> int:
        return min(len(self.baseline), len(self.candidate))


def align(baseline: Observations, candidate: Observations) -> Arms:
    """One case: its samples, each arm on its own. Several: by case, in pairs within each, or by the means
    of cases."""
    shared = sorted(case for case in baseline.cases if baseline.present(case) and candidate.present(case))
    rows = [(np.array(baseline.present(case)), np.array(candidate.present(case))) for case in shared]
    scale = _scale(baseline.metric, [row for pair in rows for row in pair])
    scaled = [(left / scale, right / scale) for left, right in rows]
    unit, left, right = _rows(scaled)
    counts = len(left), len(right)
    if unit == "case":
        counts = sum(len(row) for row, _ in rows), sum(len(row) for _, row in rows)
    return Arms(left, right, scale, unit, len(shared), counts)


def _scale(metric: Metric, rows: list[Values]) -> float:
    """A power of two, by which division is exact."""
    ends = [*(abs(end) for end in metric.span or ()), *(float(np.abs(row).max()) for row in rows)]
    return math.ldexp(1.0, math.frexp(max(ends, default=0.0) or 1.0)[1] - 1)


def _rows(cases: list[tuple[Values, Values]]) -> tuple[Unit, Values, Values]:
    if not cases:
        return "sample", np.empty(0), np.empty(0)
    if len(cases) == 1:
        return "sample", *cases[0]
    if len(cases) >= ENOUGH_CASES and any(len(left) > 1 or len(right) > 1 for left, right in cases):
        return "case", np.array([mean(row) for row, _ in cases]), np.array([mean(row) for _, row in cases])
    # Samples of one case are alike: which of one arm meets which of the other says nothing.
    pairs = np.array([pair for left, right in cases for pair in zip(left, right, strict=False)])
    return "pair", pairs[:, 0], pairs[:, 1]


def mean(values: Values) -> float:
    """Of equal values exactly that value."""
    return float(values[0] + (values - values[0]).mean())
