"""Confidence intervals of a difference. Every one is honest where there is little or nothing to see: none has
width zero, none is NaN.

Means: the studentized bootstrap, at each end the wider of its equal-tailed and its symmetric form (Hall
1988; it covers where BCa falls short with few samples and skewed costs, see docs/statistics.md).
Proportions: Wilson 1927, Newcombe 1998 (method 10) for two independent ones, Bonett and Price 2012 for
pairs.
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from services.replayer.statistics.alignment import Values

Interval = tuple[float, float]

CELLS: Final = 1_000_000
"""How many numbers are drawn at once (8 MB)."""
LEAST_ERROR: Final = 0.3
"""A resample of mostly equal values has hardly a spread of its own: its error counts as at least this
share of the error of the data, so that no end lies at infinity."""


def independent_means(
    baseline: Values, candidate: Values, level: float, rng: np.random.Generator, resamples: int
) -> Interval:
    """Of mean(candidate) - mean(baseline), each with two values or more, not all of them equal."""
    left, left_square = _resampled(baseline, rng, resamples)
    right, right_square = _resampled(candidate, rng, resamples)
    error = math.sqrt(_square_error(baseline) + _square_error(candidate))
    estimate = float(candidate.mean() - baseline.mean())
    return _studentized(estimate, error, right - left, np.sqrt(left_square + right_square), level)


def paired_means(differences: Values, level: float, rng: np.random.Generator, resamples: int) -> Interval:
    """Of the mean of two differences or more, not all of them equal."""
    means, squares = _resampled(differences, rng, resamples)
    error = math.sqrt(_square_error(differences))
    return _studentized(float(differences.mean()), error, means, np.sqrt(squares), level)


def _resampled(values: Values, rng: np.random.Generator, resamples: int) -> tuple[Values, Values]:
    """Mean and squared error of each resample."""
    size = len(values)
    batch = max(1, CELLS // size)
    means, squares = [], []
    for start in range(0, resamples, batch):
        drawn = values[rng.integers(0, size, (min(batch, resamples - start), size))]
        means.append(drawn.mean(axis=1))
        squares.append(drawn.var(axis=1, ddof=1) / size)
    return np.concatenate(means), np.concatenate(squares)


def _square_error(values: Values) -> float:
    return float(values.var(ddof=1)) / len(values)


def _studentized(estimate: float, error: float, means: Values, errors: Values, level: float) -> Interval:
    ratios = (means - estimate) / np.maximum(errors, LEAST_ERROR * error)
    low, high = np.quantile(ratios, [level / 2, 1 - level / 2])
    symmetric = np.quantile(np.abs(ratios), 1 - level)
    return float(estimate - max(high, symmetric) * error), float(estimate + max(-low, symmetric) * error)


def wilson(successes: int, n: int, level: float) -> Interval:
    """Of a probability, from `successes` of `n` tries."""
    z = NormalDist().inv_cdf(1 - level / 2)
    share, shrink = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def newcombe(baseline: tuple[int, int], candidate: tuple[int, int], level: float) -> Interval:
    """Of the difference of two independent probabilities, from (successes, n) of each."""
    (low_b, high_b), (low_c, high_c) = wilson(*baseline, level), wilson(*candidate, level)
    share_b, share_c = baseline[0] / baseline[1], candidate[0] / candidate[1]
    difference = share_c - share_b
    below = math.hypot(share_c - low_c, high_b - share_b)
    above = math.hypot(high_c - share_c, share_b - low_b)
    return max(difference - below, -1.0), min(difference + above, 1.0)


def bonett_price(gained: int, lost: int, pairs: int, level: float) -> Interval:
    """Of the difference of two probabilities seen in pairs: `gained` where only the candidate succeeded,
    `lost` where only the baseline did."""
    z = NormalDist().inv_cdf(1 - level / 2)
    up, down = (gained + 1) / (pairs + 2), (lost + 1) / (pairs + 2)
    half = z * math.sqrt((up + down - (up - down) ** 2) / (pairs + 2))
    return max(up - down - half, -1.0), min(up - down + half, 1.0)


def unseen(value: float, n: int, span: Interval, level: float) -> Interval:
    """Of the mean of what was `value` in all of `n` tries and lies within `span`: at most a share of
    1 - level ** (1 / n) can be different without having been seen."""
    share = 1 - level ** (1 / n)
    return value - share * (value - span[0]), value + share * (span[1] - value)
