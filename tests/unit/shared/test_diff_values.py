"""Differences of JSON values: every one named by its place, nothing else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.diff.matching import Effort
from shared.diff.models import FieldChange
from shared.diff.values import MOST_SHOWN, canonical, changes, digest

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~ ", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def found(left: JsonValue, right: JsonValue) -> list[FieldChange]:
    return list(changes(left, right, Effort()))


def brief(left: JsonValue, right: JsonValue) -> list[tuple[Any, ...]]:
    return [(each.path, each.state, each.left, each.right) for each in found(left, right)]


def at(value: Any, path: str) -> Any:
    """What a JSON pointer leads to."""
    for name in path.split("/")[1:]:
        place = name.replace("~1", "/").replace("~0", "~")
        value = value[int(place)] if isinstance(value, list) else value[place]
    return value


@given(VALUES)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert found(value, copy.deepcopy(value)) == []


@given(VALUES, VALUES)
def test_values_that_differ_have_changes_and_each_is_where_its_path_leads(left: Any, right: Any) -> None:
    listed = found(left, right)
    assert bool(listed) == (canonical(left) != canonical(right)) or left == right  # 0.0 and -0.0
    for change in listed:
        if change.state != "added" and change.text is None:
            assert canonical(at(left, change.path)) == canonical(change.left)
        if change.state == "added" and "[" not in canonical([left, right])[1:-1]:  # else places of the right
            assert canonical(at(right, change.path)) == canonical(change.right)


@given(VALUES, VALUES)
def test_what_one_side_has_alone_is_removed_there_and_added_the_other_way_round(
    left: Any, right: Any
) -> None:
    states = [change.state for change in found({"x": left}, {"y": right})]
    assert states == ["removed", "added"]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"x": 5, "y": 1}, {"y": 1, "x": 6}, [("/x", "changed", 5, 6)]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("/a~1b/~0", "changed", 1, 2)]),
        ([1, 2, 3], [1, 3], [("/1", "removed", 2, None)]),
        ([1, 3], [1, 2, 3], [("/1", "added", None, 2)]),
        ([{"n": 1}, 9], [{"n": 2}, 9], [("/0/n", "changed", 1, 2)]),
        ([1, 2], [1, 5], [("/1", "changed", 2, 5)]),
        (1, True, [("", "changed", 1, True)]),
        (1, 1.0, [("", "changed", 1, 1.0)]),
        (None, {}, [("", "changed", None, {})]),
        ("ok", "error", [("", "changed", "ok", "error")]),
    ],
)
def test_changes_name_the_place_and_both_values(
    left: Any, right: Any, expected: list[tuple[Any, ...]]
) -> None:
    assert brief(left, right) == expected


def test_texts_of_several_words_are_compared_by_word() -> None:
    [change] = found({"q": "capital of France"}, {"q": "capital of Spain"})
    assert change.path == "/q"
    assert change.text is not None
    assert change.text.segments[1:] == (("removed", "France"), ("added", "Spain"))
    assert (change.left, change.right) == (None, None)


def test_a_reference_is_compared_by_its_hash_with_whatever_stands_on_the_other_side() -> None:
    value: JsonValue = {"text": "é" * 10}
    sha256, size = digest(value)
    same: JsonValue = {"$body": sha256, "bytes": size}
    other: JsonValue = {"$body": "0" * 64, "bytes": 99}
    assert found(same, value) == found(value, same) == found(same, copy.deepcopy(same)) == []
    [change] = found({"result": same}, {"result": other})
    assert (change.path, change.left, change.right) == ("/result", same, other)
    assert change.too_large
    assert found(other, value)[0].too_large


def test_a_large_value_is_shown_by_its_beginning_and_says_so() -> None:
    [change] = found({}, {"rows": list(range(10_000))})
    assert change.right == canonical(list(range(10_000))).replace(",", ", ")[:MOST_SHOWN]
    assert change.too_large
    [text] = found({"a": "x" * (MOST_SHOWN + 1)}, {})
    assert (text.left, text.too_large) == ("x" * MOST_SHOWN, True)


def test_texts_that_cannot_be_compared_are_shown_by_their_beginnings() -> None:
    left, right = "a\nb\n" * 9000, "b\nb\na\n" * 9000
    [change] = changes(left, right, Effort(at_once=1000))
    assert change.text is None
    assert (change.left, change.right, change.too_large) == (left[:MOST_SHOWN], right[:MOST_SHOWN], True)


def test_deep_lists_that_differ_at_the_bottom_do_not_take_for_ever() -> None:
    left: Any = list(range(20_000))
    right: Any = [*left[:-1], 0]
    for _ in range(150):
        left, right = [left], [right]
    listed = list(changes(left, right, Effort(cells=20_000_000)))
    assert [(each.path, each.left, each.right) for each in listed] == [("/0" * 150 + "/19999", 19_999, 0)]
