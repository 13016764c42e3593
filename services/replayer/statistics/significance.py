"""How likely a difference like the observed one is without an effect: exact and permutation tests, two-sided,
by scipy.

scipy.stats costs a second and 70 MB: it is imported with the first test.
"""

from typing import Any, Final

import numpy as np

from services.replayer.statistics.alignment import NO_SPREAD, Values
from services.replayer.statistics.intervals import CELLS

BOSCHLOO_UP_TO: Final = 200
"""Runs of both arms together. Above, Boschloo's test takes seconds and finds no more than Fisher's."""


def permutation(baseline: Values, candidate: Values, rng: np.random.Generator, resamples: int) -> float:
    """Of the difference of two means by its error (Welch's ratio, so that arms may spread differently)."""
    return _permutation_test((baseline, candidate), _welch, "independent", rng, resamples)


def sign_flips(differences: Values, rng: np.random.Generator, resamples: int) -> float:
    """Of the mean of differences in pairs."""
    return _permutation_test((differences,), np.mean, "samples", rng, resamples)


def _permutation_test(
    data: tuple[Values, ...], statistic: Any, kind: str, rng: np.random.Generator, resamples: int
) -> float:
    outcome = _scipy().permutation_test(
        data,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, CELLS // sum(map(len, data))),
        rng=rng,
    )
    return float(outcome.pvalue)


def _welch(baseline: Values, candidate: Values, axis: int = -1) -> Any:
    error = (
        baseline.var(axis, ddof=1) / baseline.shape[axis]
        + candidate.var(axis, ddof=1) / candidate.shape[axis]
    )
    return (candidate.mean(axis) - baseline.mean(axis)) / np.sqrt(np.maximum(error, NO_SPREAD**2))


def mcnemar(gained: int, lost: int) -> float:
    """Exact: without an effect, each of the pairs that differ falls to either side like a coin."""
    return float(_scipy().binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def two_proportions(baseline: tuple[int, int], candidate: tuple[int, int]) -> tuple[str, float]:
    """The name of the exact test, and its p-value, from (successes, n) of each."""
    runs = baseline[1] + candidate[1]
    if baseline[0] + candidate[0] in (0, runs):
        return "Boschloo", 1.0
    table = [[baseline[0], candidate[0]], [baseline[1] - baseline[0], candidate[1] - candidate[0]]]
    if runs <= BOSCHLOO_UP_TO:
        return "Boschloo", float(_scipy().boschloo_exact(table).pvalue)
    return "Fisher", float(_scipy().fisher_exact(table).pvalue)


def _scipy() -> Any:
    from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

    return stats
