"""Texts by word and by line, in the format of difflib, whatever they hold."""

import re
from difflib import unified_diff

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.diff.matching import Effort
from shared.diff.models import TextDiff
from shared.diff.texts import MOST_CHARACTERS, text_diff

WORDS = st.lists(
    st.sampled_from(["the ", "result ", "is ", "15", "16", ".", "\n", "é", "漢字 ", "🙂"]), max_size=15
)
TEXTS = WORDS.map("".join) | st.text(max_size=40)


def diff(left: str, right: str) -> TextDiff:
    found = text_diff(left, right, Effort())
    assert found is not None
    return found


@given(TEXTS, TEXTS)
def test_the_segments_make_both_texts(left: str, right: str) -> None:
    segments = diff(left, right).segments
    assert "".join(text for state, text in segments if state != "added") == left
    assert "".join(text for state, text in segments if state != "removed") == right
    assert all(text for _, text in segments)


@given(TEXTS, TEXTS)
def test_the_lines_of_the_unified_diff_make_both_texts(left: str, right: str) -> None:
    rest, made = left.splitlines(), list[str]()
    for line in diff(left, right).unified[2:]:
        if (hunk := re.match(r"@@ -(\d+)(,0)?", line)) is not None:
            skipped = int(hunk[1]) - (0 if hunk[2] else 1) - (len(left.splitlines()) - len(rest))
            made += rest[:skipped]
            del rest[:skipped]
            continue
        if not line.startswith("+"):
            assert rest.pop(0) == line[1:]
        if not line.startswith("-"):
            made.append(line[1:])
    assert made + rest == right.splitlines()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The result is 15.", "The result is 16."),
        ("", "one\ntwo"),
        ("one\ntwo", ""),
        ("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk", "a\nX\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl"),
        ("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk", "b\nc\nd\ne\nf\ng\nh\ni\nY\nk"),
        ("same\nend", "same\nend\n"),
    ],
)
def test_the_unified_diff_is_what_difflib_writes(left: str, right: str) -> None:
    lines = unified_diff(left.splitlines(), right.splitlines(), "original", "replayed", lineterm="")
    assert diff(left, right).unified == tuple(lines)


def test_a_changed_word_is_told_alone() -> None:
    assert diff("The result is 15.", "The result is sixteen.").segments == (
        ("equal", "The result is "),
        ("removed", "15"),
        ("added", "sixteen"),
        ("equal", "."),
    )


def test_a_text_too_long_for_words_is_compared_by_line_and_says_so() -> None:
    lines = [" ".join(f"{n:03}") for n in range(300)]  # no word stands there only once
    left, right = "\n".join(lines), "\n".join(reversed(lines))
    assert diff(left, right).by == "words"
    found = text_diff(left, right, Effort(at_once=100_000))
    assert found is not None
    assert found.by == "lines"
    assert "".join(text for state, text in found.segments if state != "added") == left
    assert "".join(text for state, text in found.segments if state != "removed") == right


def test_a_text_too_long_for_lines_is_not_compared() -> None:
    left, right = "a\nb\n" * 500, "b\nb\na\n" * 500
    assert text_diff(left, right, Effort(at_once=1000)) is None
    assert text_diff("a" * (MOST_CHARACTERS + 1), "b", Effort()) is None
