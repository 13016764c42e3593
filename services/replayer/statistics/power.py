"""How many samples a difference of the observed size needs to be seen, eight times of ten."""

import math
from statistics import NormalDist
from typing import Final

from services.replayer.statistics.alignment import Arms

POWER: Final = 0.8
MOST: Final = 10**9


def samples_needed(arms: Arms, level: float) -> int | None:
    """Values per arm in all, with cases and samples in the proportion they have now; None where nothing
    can be reckoned: no difference or no spread is known, or a milliard would not do."""
    if arms.smallest < 2:
        return None
    difference = arms.difference
    if difference == 0:
        return None
    variance = sum(float(row.var(ddof=1)) for row in arms.rows)
    reach = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(POWER)
    ratio = reach * math.sqrt(variance) / abs(difference)
    units = ratio * ratio  # not **, which raises where this is infinite
    if units > MOST:
        return None
    needed = max(math.ceil(units), _fewest(arms, level), arms.smallest + 1)
    return math.ceil(needed * max(arms.counts) / arms.smallest)


def _fewest(arms: Arms, level: float) -> int:
    """Below it, no exact test reaches the level, however large the difference."""
    if arms.unit != "sample":
        return math.ceil(1 + math.log2(1 / level))
    size = 2
    while 2 / math.comb(2 * size, size) > level:
        size += 1
    return size
