"""Which step is to blame: what the forks have shown so far, and how sure that is.

A fork that succeeds says that up to its step nothing was lost. The culprit is the stretch between two
neighbouring points where the probability of success falls; behind the last point it is zero, for the
recorded run failed. Intervals of probabilities are Wilson's, those of the drop Newcombe's, at the
confidence of the search, each for itself.
"""

from itertools import accumulate
from typing import Final

from services.replayer.statistics.change_point import place_probabilities
from services.replayer.statistics.intervals import newcombe, wilson
from services.replayer.statistics.search import Search
from services.replayer.statistics.wording import describe_blame
from shared.findings import (
    Blame,
    BlameVerdict,
    Culprit,
    Interval,
    PointProbability,
    Stretch,
)

HOPELESS: Final = 0.5
"""A run fails from the start if not even every second try from there can be expected to succeed."""


def blame(search: Search) -> Blame:
    """The same tallies give the same result, in whatever order they came."""
    places = place_probabilities(search.in_order)
    place = max(range(len(places)), key=places.__getitem__)
    culprit = _culprit(search, place, places[place]) if place else None
    verdict = _verdict(search, places[place], culprit)
    found = Blame(
        verdict=verdict,
        points=tuple(
            _point(search, index) for index in range(len(search.points)) if search.in_order[index][1]
        ),
        culprit=culprit,
        within=_within(search, places),
        words="",
    )
    return found.model_copy(update={"words": describe_blame(found)})


def _verdict(search: Search, probability: float, culprit: Culprit | None) -> BlameVerdict:
    if probability < search.confidence:
        return "undecided"
    if culprit:
        return "found" if culprit.interval and culprit.interval.low > 0 else "undecided"
    successes, tries = search.in_order[0]
    hopeless = tries > 0 and wilson(successes, tries, 1 - search.confidence)[1] < HOPELESS
    return "from-start" if hopeless else "undecided"


def _point(search: Search, index: int) -> PointProbability:
    successes, tries = search.in_order[index]
    low, high = wilson(successes, tries, 1 - search.confidence)
    return PointProbability(
        point=search.points[index],
        successes=successes,
        tries=tries,
        probability=successes / tries,
        interval=Interval(low=low, high=high),
    )


def _culprit(search: Search, place: int, probability: float) -> Culprit:
    stretch, level = _stretch(search, place, place), 1 - search.confidence
    before = search.in_order[place - 1]
    if place == len(search.points):
        behind = wilson(*before, level) if before[1] else None
        drop = before[0] / before[1] if before[1] else None
    else:
        at = search.in_order[place]
        tried = before[1] and at[1]
        behind = newcombe(at, before, level) if tried else None
        drop = before[0] / before[1] - at[0] / at[1] if tried else None
    interval = behind and Interval(low=behind[0], high=behind[1])
    return Culprit(stretch=stretch, probability=probability, drop=drop, interval=interval)


def _within(search: Search, places: list[float]) -> Stretch:
    """The middle of the places, without half of the doubt at either end."""
    doubt = (1 - search.confidence) / 2
    up_to = list(accumulate(places))
    first = next(index for index, share in enumerate(up_to) if share > doubt)
    last = next((index for index, share in enumerate(up_to) if share >= 1 - doubt), len(places) - 1)
    return _stretch(search, first, last)


def _stretch(search: Search, first: int, last: int) -> Stretch:
    """From the point before the place `first` to the point at the place `last`."""
    after = search.points[first - 1] if first else None
    return Stretch(after=after, until=search.points[last] if last < len(search.points) else None)
