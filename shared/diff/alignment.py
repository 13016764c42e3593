"""Which steps of two runs belong together: an alignment by edit distance. Pure, and bounded in work.

Where a table of all pairs would be too large, what is equal is aligned first, then calls of the same tool,
then steps of the same kind, each between those before it.
"""

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from shared.diff.matching import Effort, Pair, Window, gaps, matched

MOST_CELLS: Final = 40_000
MOST_ITEMS_SQUARED: Final = 400_000_000
# What a pair costs. Two steps that stand alone cost more than any pair, but those of two kinds are none.
SAME, SAME_TOOL, SAME_KIND, NO_PAIR = 0, 2, 3, 5
ALONE: Final = 2
PAIRED, REMOVED, ADDED = range(3)


class Keys(NamedTuple):
    """What makes a step the same as another: all of it, the tool (or all steps of its kind), the kind."""

    same: Hashable
    tool: Hashable
    kind: Hashable


def aligned(left: Sequence[Keys], right: Sequence[Keys]) -> list[Pair]:
    """The places that belong together, rising on both sides; the steps at all others stand alone."""
    numbers: dict[Hashable, int] = {}
    # Numbers are compared and hashed faster than what they stand for.
    lefts, rights = (
        [Keys(*(numbers.setdefault(key, len(numbers)) for key in enumerate(keys))) for keys in side]
        for side in (left, right)
    )
    effort = Effort(cells=MOST_ITEMS_SQUARED, at_once=MOST_ITEMS_SQUARED)
    return sorted(_within(lefts, rights, Window(0, len(left), 0, len(right)), 0, effort))


def _within(
    left: Sequence[Keys], right: Sequence[Keys], window: Window, level: int, effort: Effort
) -> list[Pair]:
    """`level`: by which of the keys steps are aligned when the window is too large for a table."""
    if window.area <= MOST_CELLS:
        return _by_distance(left, right, window)
    if level == len(Keys._fields):
        return []
    lefts = [each[level] for each in left[window.left : window.left_end]]
    rights = [each[level] for each in right[window.right : window.right_end]]
    pairs = [(window.left + i, window.right + j) for i, j in matched(lefts, rights, effort) or ()]
    between = (_within(left, right, gap, level + 1, effort) for gap in gaps(window, pairs))
    return [*pairs, *(pair for found in between for pair in found)]


def _by_distance(left: Sequence[Keys], right: Sequence[Keys], window: Window) -> list[Pair]:
    """The cheapest alignment; of several that in which pairs come first, and what is removed before what is
    added."""
    others = right[window.right : window.right_end]
    costs = [ALONE * place for place in range(len(others) + 1)]
    table = [bytes([ADDED]) * len(costs)]
    for same, tool, kind in left[window.left : window.left_end]:
        above, costs, moves = costs, [costs[0] + ALONE], bytearray([REMOVED])
        for place, (other_same, other_tool, other_kind) in enumerate(others):
            best, move = costs[place] + ALONE, ADDED
            if above[place + 1] + ALONE < best:
                best, move = above[place + 1] + ALONE, REMOVED
            if same == other_same:
                pair = SAME
            elif tool == other_tool:
                pair = SAME_TOOL
            else:
                pair = SAME_KIND if kind == other_kind else NO_PAIR
            if above[place] + pair < best:
                best, move = above[place] + pair, PAIRED
            costs.append(best)
            moves.append(move)
        table.append(bytes(moves))
    return _traced(table, window)


def _traced(table: Sequence[bytes], window: Window) -> list[Pair]:
    i, j = window.left_end - window.left, window.right_end - window.right
    pairs: list[Pair] = []
    while i and j:
        move = table[i][j]
        i, j = i - (move != ADDED), j - (move != REMOVED)
        if move == PAIRED:
            pairs.append((window.left + i, window.right + j))
    return pairs
