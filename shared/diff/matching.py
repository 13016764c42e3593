"""What two sequences have in common, within a bound of work. Pure.

The longest common subsequence by bit vectors (Hyyrö 2004), one addition of long integers per item; sequences
too long for that are first cut at the items that stand once in each. Not here: what the items are.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Pair = tuple[int, int]
Items = Sequence[Hashable]


@dataclass
class Effort:
    """How much may still be compared, in cells of tables: in all, and in one table, which costs memory."""

    cells: int = 1_000_000_000
    at_once: int = 64_000_000

    def takes(self, tables: Sequence[int]) -> bool:
        """Whether tables of these sizes may be filled; if so, they count."""
        if max(tables, default=0) > self.at_once or sum(tables) > self.cells:
            return False
        self.cells -= sum(tables)
        return True


class Window(NamedTuple):
    """A part of the left sequence and one of the right."""

    left: int
    left_end: int
    right: int
    right_end: int

    @property
    def area(self) -> int:
        return (self.left_end - self.left) * (self.right_end - self.right)


def matched(left: Items, right: Items, effort: Effort) -> list[Pair] | None:
    """The places of equal items, rising on both sides, as many as can be; nearly so in long sequences.

    None: to find them takes more than the effort.
    """
    pairs, rest = trimmed(left, right, Window(0, len(left), 0, len(right)))
    windows = [rest]
    if rest.area > effort.at_once:
        anchors = _anchors(left, right, rest)
        found = [trimmed(left, right, gap) for gap in gaps(rest, anchors)]
        pairs += [*anchors, *(pair for ends, _ in found for pair in ends)]
        windows = [window for _, window in found]
    if not effort.takes([window.area for window in windows]):
        return None
    for window in windows:
        if window.area:
            pairs += _common(left, right, window)
    return sorted(pairs)


def trimmed(left: Items, right: Items, window: Window) -> tuple[list[Pair], Window]:
    """The equal items with which both parts begin and end, and what is between."""
    i, i_end, j, j_end = window
    while i < i_end and j < j_end and left[i] == right[j]:
        i, j = i + 1, j + 1
    pairs = list(zip(range(window.left, i), range(window.right, j), strict=True))
    while i < i_end and j < j_end and left[i_end - 1] == right[j_end - 1]:
        i_end, j_end = i_end - 1, j_end - 1
    pairs += zip(range(i_end, window.left_end), range(j_end, window.right_end), strict=True)
    return pairs, Window(i, i_end, j, j_end)


def gaps(window: Window, pairs: Iterable[Pair]) -> Iterator[Window]:
    """What lies before, between and behind these pairs, the empty ones left out."""
    i, j = window.left, window.right
    for left, right in (*pairs, (window.left_end, window.right_end)):
        if i < left or j < right:
            yield Window(i, left, j, right)
        i, j = left + 1, right + 1


def _anchors(left: Items, right: Items, window: Window) -> list[Pair]:
    """Items that stand once in each part, in the order that most of them share."""
    once = [_once(left, window.left, window.left_end), _once(right, window.right, window.right_end)]
    return _longest_rising([(i, once[1][item]) for item, i in once[0].items() if item in once[1]])


def _once(items: Items, start: int, end: int) -> dict[Hashable, int]:
    counts = Counter(items[start:end])
    return {items[place]: place for place in range(start, end) if counts[items[place]] == 1}


def _longest_rising(pairs: Sequence[Pair]) -> list[Pair]:
    """Of pairs that rise on the left, the most that rise on the right too (patience sorting)."""
    tops: list[int] = []
    chains: list[tuple[Pair, int]] = []  # a pair, and the place in `chains` of the one before it
    last: list[int] = []  # of each pile, the place in `chains` of its top
    for pair in pairs:
        pile = bisect_left(tops, pair[1])
        chains.append((pair, last[pile - 1] if pile else -1))
        tops[pile : pile + 1] = [pair[1]]
        last[pile : pile + 1] = [len(chains) - 1]
    found: list[Pair] = []
    place = last[-1] if last else -1
    while place >= 0:
        pair, place = chains[place]
        found.append(pair)
    return found[::-1]


def _common(left: Items, right: Items, window: Window) -> list[Pair]:
    """After each item of the right part, a vector says by a 0 at which items of the left one the length of
    the longest common subsequence grows."""
    places: dict[Hashable, int] = {}
    for shift, item in enumerate(left[window.left : window.left_end]):
        places[item] = places.get(item, 0) | 1 << shift
    vector = full = (1 << window.left_end - window.left) - 1
    rows: list[int] = []
    for item in right[window.right : window.right_end]:
        both = vector & places.get(item, 0)
        vector = ((vector + both) | (vector - both)) & full
        rows.append(vector)
    return _traced(rows, window)


def _traced(rows: Sequence[int], window: Window) -> list[Pair]:
    """The way back through the vectors, from the ends to the beginnings."""
    i, j = window.left_end - window.left, len(rows)
    pairs: list[Pair] = []
    while i and j:
        if rows[j - 1] >> i - 1 & 1:
            i -= 1
            continue
        j -= 1
        if not j or rows[j - 1] >> i - 1 & 1:
            i -= 1
            pairs.append((window.left + i, window.right + j))
    return pairs
