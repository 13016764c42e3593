"""How two texts differ: by word, and by line as `diff -u` writes it. Pure, and bounded in work."""

import re
from collections.abc import Callable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from typing import Final, Literal

from shared.diff.matching import Effort, Pair, matched
from shared.diff.models import Segment, TextDiff

MOST_CHARACTERS: Final = 1_000_000
NAMES: Final = ("original", "replayed")
# A word or a sign with the space behind it: spaces alone are found everywhere, and would tear changes apart.
WORD: Final = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


class _Found(SequenceMatcher[str]):
    """difflib's view of two sequences whose equal places were found within a bound."""

    def __init__(self, left: Sequence[str], right: Sequence[str], pairs: Sequence[Pair]) -> None:
        super().__init__(None, left, right, autojunk=False)
        self.left, self.right = left, right
        self._pairs = pairs

    def get_matching_blocks(self) -> list[Match]:
        blocks: list[Match] = []
        for i, j in self._pairs:
            if blocks and (i, j) == (sum(blocks[-1][::2]), sum(blocks[-1][1:])):
                blocks[-1] = Match(blocks[-1].a, blocks[-1].b, blocks[-1].size + 1)
            else:
                blocks.append(Match(i, j, 1))
        return [*blocks, Match(len(self.left), len(self.right), 0)]


def text_diff(left: str, right: str, effort: Effort) -> TextDiff | None:
    """None when the texts are too long to be compared even by line."""
    if max(len(left), len(right)) > MOST_CHARACTERS:
        return None
    ways: tuple[tuple[Literal["words", "lines"], Callable[[str], list[str]]], ...] = (
        ("words", WORD.findall),
        ("lines", lambda text: text.splitlines(keepends=True)),
    )
    for by, cut in ways:
        if (found := _found(cut(left), cut(right), effort)) is not None:
            segments = tuple(_segments(found))
            lines = unified(left.splitlines(), right.splitlines(), effort)
            return TextDiff(by=by, segments=segments, unified=tuple(lines))
    return None


def _found(left: list[str], right: list[str], effort: Effort) -> _Found | None:
    pairs = matched(left, right, effort)
    return _Found(left, right, pairs) if pairs is not None else None


def _segments(found: _Found) -> Iterator[Segment]:
    for tag, i, i_end, j, j_end in found.get_opcodes():
        if tag == "equal":
            yield "equal", "".join(found.left[i:i_end])
            continue
        if i < i_end:
            yield "removed", "".join(found.left[i:i_end])
        if j < j_end:
            yield "added", "".join(found.right[j:j_end])


def unified(
    left: list[str], right: list[str], effort: Effort, names: tuple[str, str] = NAMES, offset: int = 0
) -> Iterator[str]:
    """As `difflib.unified_diff`, which looks for what is equal without a bound; nothing where that takes more
    than the effort. `offset`: how many lines, equal in both, stand before these."""
    found = _found(left, right, effort)
    if found is None:
        return
    for place, group in enumerate(found.get_grouped_opcodes()):
        if not place:
            yield from (f"--- {names[0]}", f"+++ {names[1]}")
        (_, i, _, j, _), (_, _, i_end, _, j_end) = group[0], group[-1]
        before, after = _range(i + offset, i_end + offset), _range(j + offset, j_end + offset)
        yield f"@@ -{before} +{after} @@"
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in found.left[i:i_end])
                continue
            yield from (f"-{line}" for line in found.left[i:i_end])
            yield from (f"+{line}" for line in found.right[j:j_end])


def _range(start: int, end: int) -> str:
    """Lines count from 1; an empty range is named by the line before it."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"
