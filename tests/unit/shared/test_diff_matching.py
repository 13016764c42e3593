"""What two sequences have in common: as much as can be, in order, within the effort."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.diff.matching import Effort, Window, gaps, matched

LETTERS = st.lists(st.sampled_from("abcd"), max_size=12)


def longest(left: list[str], right: list[str]) -> int:
    """The length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(right) + 1)
    for one in left:
        before, row = row, [0]
        for place, other in enumerate(right):
            row.append(before[place] + 1 if one == other else max(before[place + 1], row[place]))
    return row[-1]


@given(LETTERS, LETTERS)
def test_as_many_items_are_matched_as_can_be_and_in_order(left: list[str], right: list[str]) -> None:
    pairs = matched(left, right, Effort())
    assert pairs is not None
    assert all(left[i] == right[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))
    assert len(pairs) == longest(left, right)


@given(LETTERS, LETTERS)
def test_the_gaps_are_what_is_not_matched(left: list[str], right: list[str]) -> None:
    pairs = matched(left, right, Effort()) or []
    windows = list(gaps(Window(0, len(left), 0, len(right)), pairs))
    alone = [place for window in windows for place in range(window.left, window.left_end)]
    others = [place for window in windows for place in range(window.right, window.right_end)]
    assert alone == [place for place in range(len(left)) if place not in {i for i, _ in pairs}]
    assert others == [place for place in range(len(right)) if place not in {j for _, j in pairs}]


@given(LETTERS, LETTERS)
def test_sequences_cut_at_what_stands_once_are_matched_in_order(left: list[str], right: list[str]) -> None:
    pairs = matched(left, right, Effort(at_once=4))
    if pairs is not None:
        assert all(left[i] == right[j] for i, j in pairs)
        assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))


def test_a_long_sequence_with_changes_far_apart_is_matched_at_little_cost() -> None:
    left = [f"line {place}" for place in range(20_000)]
    right = ["new first", *left[1:-1], "new last"]
    effort = Effort(cells=1000, at_once=100)
    pairs = matched(left, right, effort)
    assert pairs == [(place, place) for place in range(1, 19_999)]
    assert effort.cells > 900


def test_what_takes_more_than_the_effort_is_not_matched_and_costs_nothing() -> None:
    effort = Effort(cells=99, at_once=99)
    assert matched("ab" * 5, "ba" * 5, effort) is None
    assert effort.cells == 99
    assert matched("ab" * 4, "ba" * 4, effort) is not None
    assert effort.cells == 99 - 64


def test_effort_is_used_up_by_many_small_comparisons() -> None:
    effort = Effort(cells=10, at_once=10)
    assert [matched("ab", "cd", effort) for _ in range(3)] == [[], [], None]
