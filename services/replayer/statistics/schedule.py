"""When to look at the samples, and what error each look may make.

Runs are numbered within an arm: first one sample of every case, then the next of every case. A look takes the
first `runs` of each arm, and waits for all of them; never those that ended first, for the quick ones are not
like the others.

The error that is allowed in all is divided over the looks and the candidates, and the parts add up to it.
So it holds for any test, however the looks depend on one another, and whatever look it ends at; the
interval of each look has the confidence of its part, and holds for the same reason.
"""

import math
from itertools import pairwise
from typing import Final

from pydantic import BaseModel, ConfigDict

from services.replayer.statistics.terms import Terms

FRACTIONS: Final = (0.25, 0.5, 0.75, 1.0)
FIRST: Final = 8
"""Runs per arm: with fewer, the exact tests hardly reach the levels of an early look."""


class Look(BaseModel):
    """At `runs` of each arm; `more_runs` lie between it and the next look, 0 after the last."""

    model_config = ConfigDict(frozen=True)

    runs: int
    more_runs: int
    terms: Terms


def looks(samples: int, *, cases: int = 1, candidates: int = 1, error: float = 0.05) -> tuple[Look, ...]:
    """Up to four, the last at samples * cases runs. What is spent up to a look grows with the square of
    its share of the runs: early ones stop for large effects only, and the last keeps most."""
    if min(samples, cases, candidates) < 1:
        raise ValueError(
            f"at least one of each is needed: {samples} samples, {cases} cases, {candidates} candidates"
        )
    if not 0 < error < 1:
        raise ValueError(f"the error that is allowed lies between 0 and 1, as 0.05 does; not {error}")
    total = samples * cases
    step = cases if samples > 1 else 1
    counts = sorted({min(total, math.ceil(total * fraction / step) * step) for fraction in FRACTIONS})
    counts = [count for count in counts if count >= FIRST] or [total]
    spent = [0.0, *(error / candidates * (count / total) ** 2 for count in counts)]
    levels = [after - before for before, after in pairwise(spent)]
    gaps = [after - before for before, after in pairwise([*counts, total])]
    return tuple(
        Look(runs=count, more_runs=gap, terms=Terms(level=level, planned=levels[-1]))
        for count, gap, level in zip(counts, gaps, levels, strict=True)
    )
