"""Which steps belong together: the cheapest alignment, and a sound one where runs are long."""

from functools import cache
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.diff import alignment
from shared.diff.alignment import ALONE, NO_PAIR, SAME, SAME_KIND, SAME_TOOL, Keys, aligned


def key(text: str) -> Keys:
    """`T1` is the thought 1; `c1` is a call of the tool `c` with the arguments 1."""
    return Keys(text, text[0], "thought" if text[0] == "T" else "call")


def keys(text: str) -> list[Keys]:
    return [key(each) for each in text.split()]


STEPS = st.lists(st.sampled_from([key(tool + n) for tool in "Tcs" for n in "123"]), max_size=8)


def price(one: Keys, other: Keys) -> int:
    if one.same == other.same:
        return SAME
    if one.tool == other.tool:
        return SAME_TOOL
    return SAME_KIND if one.kind == other.kind else NO_PAIR


def cost(left: list[Keys], right: list[Keys]) -> int:
    pairs = aligned(left, right)
    alone = len(left) + len(right) - 2 * len(pairs)
    return alone * ALONE + sum(price(left[i], right[j]) for i, j in pairs)


def least(left: list[Keys], right: list[Keys]) -> int:
    @cache
    def behind(i: int, j: int) -> int:
        if i == len(left) or j == len(right):
            return (len(left) - i + len(right) - j) * ALONE
        pair = price(left[i], right[j]) + behind(i + 1, j + 1)
        return min(pair, ALONE + behind(i + 1, j), ALONE + behind(i, j + 1))

    return behind(0, 0)


@given(STEPS, STEPS)
def test_no_alignment_is_cheaper(left: list[Keys], right: list[Keys]) -> None:
    assert cost(left, right) == least(left, right)


@pytest.mark.parametrize("most_cells", [0, 4, 40_000])
@given(left=STEPS, right=STEPS)
def test_pairs_are_of_one_kind_and_rise_however_small_the_table(
    left: list[Keys], right: list[Keys], most_cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "MOST_CELLS", most_cells)
        pairs = aligned(left, right)
        assert aligned(left, left) == [(place, place) for place in range(len(left))]
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))
    assert all(left[i].kind == right[j].kind for i, j in pairs)


@pytest.mark.parametrize(
    ("left", "right", "pairs"),
    [
        ("T1 c1 T2", "T1 c1 s1 T2", [(0, 0), (1, 1), (2, 3)]),
        ("c1 c2 c3", "c1 c9 c3", [(0, 0), (1, 1), (2, 2)]),
        ("c1 s1", "s9 c9", [(1, 0)]),
        ("c1 s1", "f9 c9 x9", [(0, 1), (1, 2)]),
        ("c1 s1 c2", "c1 c2 s1", [(0, 0), (2, 1)]),
        ("c1", "s1 c2", [(0, 1)]),
        ("c1", "s1", [(0, 0)]),
        ("c1 c2", "c3", [(0, 0)]),
        ("T1", "c1", []),
        ("", "T1", []),
    ],
)
def test_the_same_call_is_preferred_to_the_same_tool_and_that_to_the_same_kind(
    left: str, right: str, pairs: list[tuple[int, int]]
) -> None:
    assert aligned(keys(left), keys(right)) == pairs


def test_runs_of_ten_thousand_steps_that_share_little_are_aligned_in_seconds() -> None:
    left = [key(f"{'Tcs'[n % 3]}{n % 97}") for n in range(10_000)]
    right = [key(f"{'Tsc'[n * 7 % 3]}{n * n % 89}") for n in range(10_000)]
    started = perf_counter()
    pairs = aligned(left, right)
    assert perf_counter() - started < 10
    assert len(pairs) > 4000
