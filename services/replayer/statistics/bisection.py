"""Where to fork next in the search for the step to blame.

The next point is the one that halves what is uncertain; once a place is probable, its two neighbours are
tried until their difference is plain. No single comparison is trusted: each try counts towards all places,
so that a misleading one is outvoted later.
"""

from itertools import accumulate
from typing import Final

from pydantic import BaseModel, ConfigDict

from services.replayer.statistics.blame import blame
from services.replayer.statistics.change_point import place_probabilities
from services.replayer.statistics.search import Search

PROBABLE: Final = 0.9
"""From here on a place is tried at its neighbours; before, the row is halved."""


class Forks(BaseModel):
    """So many runs wanted, forked behind the step `point`."""

    model_config = ConfigDict(frozen=True)

    point: int
    runs: int


def next_forks(search: Search) -> Forks | None:
    """None at the end: the budget is used up, or the question is answered."""
    if search.runs_left == 0 or blame(search).verdict != "undecided":
        return None
    places = place_probabilities(search.in_order)
    place = max(range(len(places)), key=places.__getitem__)
    index = _halving(places) if places[place] < PROBABLE else _neighbour(search, place)
    return Forks(point=search.points[index], runs=min(search.runs_per_point, search.runs_left))


def _halving(places: list[float]) -> int:
    """Low at point i says that the place is i or before it."""
    up_to = list(accumulate(places[:-1]))
    return min(range(len(up_to)), key=lambda index: abs(up_to[index] - 0.5))


def _neighbour(search: Search, place: int) -> int:
    """The point before the place or at it that was tried less."""
    both = [index for index in (place - 1, place) if 0 <= index < len(search.points)]
    return min(both, key=lambda index: search.in_order[index][1])
