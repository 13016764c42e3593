"""Where along a row of points the probability of success falls, as probabilities of each place (Bayes).

The model: high before the place, low from it on, each the same at every point. Place 0 means low from the
first point on, place m (behind all points) high up to the last. High has the prior Beta(5, 1), low Beta(1,
5); each end has a fifth of the prior, the places between share the rest. Where the truth falls in several
steps, the largest wins slowly or none does: then no place is probable, which is the honest answer.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import exp, lgamma, log
from typing import Final

Tally = tuple[int, int]
"""Successes, and tries."""

STRENGTH: Final = 5.0
END_SHARE: Final = 0.2


def place_probabilities(tallies: Sequence[Tally]) -> list[float]:
    """Of the places 0 … m, given the tally of each of m points (0 tries where none was made)."""
    successes = [0, *accumulate(wins for wins, _ in tallies)]
    failures = [0, *accumulate(tries - wins for wins, tries in tallies)]
    weights = [
        log(prior)
        + _evidence(won, lost, STRENGTH, 1.0)
        + _evidence(successes[-1] - won, failures[-1] - lost, 1.0, STRENGTH)
        for prior, won, lost in zip(_prior(len(tallies)), successes, failures, strict=True)
    ]
    likely = [exp(weight - max(weights)) for weight in weights]
    return [each / sum(likely) for each in likely]


def _prior(points: int) -> list[float]:
    between = points - 1
    return [END_SHARE, *[(1 - 2 * END_SHARE) / between] * between, END_SHARE] if between else [0.5, 0.5]


def _evidence(successes: int, failures: int, alpha: float, beta: float) -> float:
    """The logarithm of how likely the tries are under a Beta prior."""
    return _log_beta(successes + alpha, failures + beta) - _log_beta(alpha, beta)


def _log_beta(alpha: float, beta: float) -> float:
    return lgamma(alpha) + lgamma(beta) - lgamma(alpha + beta)
