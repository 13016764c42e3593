"""How two JSON values differ: member by member, texts by word. Pure, and bounded in work."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from shared.diff.matching import Effort, Window, gaps, matched
from shared.diff.models import FieldChange
from shared.diff.texts import text_diff
from shared.steps import reference_in

MOST_SHOWN: Final = 16_384
"""Characters of a value that is shown whole."""
ONE_WORD: Final = re.compile(r"\S{0,80}")
"""Texts that say nothing more when they are compared by word."""
CELLS_PER_CHARACTER: Final = 16
"""What it takes to read the items of a list, in cells of a table."""


def changes(left: JsonValue, right: JsonValue, effort: Effort, path: str = "") -> Iterator[FieldChange]:
    """Every difference, in the order of the left value."""
    if reference_in(left) or reference_in(right):
        if not _is_same_body(left, right):
            yield _changed(path, left, right, too_large=True)
        return
    match left, right:
        case dict(), dict():
            yield from _of_members(left, right, effort, path)
        case list(), list():
            yield from _of_items(left, right, effort, path)
        case str(), str():
            if left != right:
                yield _of_texts(left, right, effort, path)
        case _ if type(left) is not type(right) or left != right:
            yield _changed(path, left, right)


def removed(value: JsonValue, path: str) -> FieldChange:
    shown, is_cut = _shown(value)
    return FieldChange(path=path, state="removed", left=shown, too_large=is_cut)


def added(value: JsonValue, path: str) -> FieldChange:
    shown, is_cut = _shown(value)
    return FieldChange(path=path, state="added", right=shown, too_large=is_cut)


def canonical(value: JsonValue) -> str:
    """The same text for the same value, whatever the order of its members."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: JsonValue) -> tuple[str, int]:
    """SHA-256 and size by which a reference names the value, made as the log does it; those of a reference
    are its own."""
    if (ref := reference_in(value)) is not None:
        return ref.sha256, ref.size
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest(), len(text)


def _is_same_body(left: JsonValue, right: JsonValue) -> bool:
    """A value may be large enough for a reference in one message of the log, and not in another."""
    return digest(left) == digest(right)


def _of_members(
    left: dict[str, JsonValue], right: dict[str, JsonValue], effort: Effort, path: str
) -> Iterator[FieldChange]:
    for name in (*left, *(name for name in right if name not in left)):
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in right:
            yield removed(left[name], place)
        elif name not in left:
            yield added(right[name], place)
        else:
            yield from changes(left[name], right[name], effort, place)


def _of_items(
    left: list[JsonValue], right: list[JsonValue], effort: Effort, path: str
) -> Iterator[FieldChange]:
    """Between items that are equal, the first is compared with the first, and so on."""
    for i, i_end, j, j_end in gaps(Window(0, len(left), 0, len(right)), _equal_items(left, right, effort)):
        both = min(i_end - i, j_end - j)
        for place in range(both):
            yield from changes(left[i + place], right[j + place], effort, f"{path}/{i + place}")
        yield from (removed(left[place], f"{path}/{place}") for place in range(i + both, i_end))
        yield from (added(right[place], f"{path}/{place}") for place in range(j + both, j_end))


def _equal_items(left: list[JsonValue], right: list[JsonValue], effort: Effort) -> list[tuple[int, int]]:
    """None are found in lists that are too large to look for them."""
    lefts, rights = ([canonical(item) for item in items] for items in (left, right))
    if not effort.takes([CELLS_PER_CHARACTER * sum(map(len, texts)) for texts in (lefts, rights)]):
        return []
    return matched(lefts, rights, effort) or []


def _of_texts(left: str, right: str, effort: Effort, path: str) -> FieldChange:
    if ONE_WORD.fullmatch(left) and ONE_WORD.fullmatch(right):
        return _changed(path, left, right)
    text = text_diff(left, right, effort)
    if text is None:
        return _changed(path, left, right, too_large=True)
    return FieldChange(path=path, state="changed", text=text)


def _changed(path: str, left: JsonValue, right: JsonValue, *, too_large: bool = False) -> FieldChange:
    (shown_left, is_left_cut), (shown_right, is_right_cut) = _shown(left), _shown(right)
    is_cut = too_large or is_left_cut or is_right_cut
    return FieldChange(path=path, state="changed", left=shown_left, right=shown_right, too_large=is_cut)


def _shown(value: JsonValue) -> tuple[JsonValue, bool]:
    """The value, or how it begins; and whether it is only that."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_SHOWN:
        return value, reference_in(value) is not None
    return text[:MOST_SHOWN], True
