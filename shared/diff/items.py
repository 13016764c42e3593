"""From the rows of an alignment to the items of the result: equal steps in stretches, others each. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from shared.diff.models import DiffCounts, DifferentStep, DiffPlace, EqualSteps, Item, Span
from shared.diff.units import Unit

Row = DifferentStep | tuple[Unit, Unit]
"""How units differ, or two that do not."""


def collapsed(rows: Iterable[Row], left: Iterable[Unit], right: Iterable[Unit]) -> tuple[Item, ...]:
    """`left` and `right` are all units, for a span ends where one lies that is not in its stretch."""
    return tuple(_items(rows, _numbered(left), _numbered(right)))


def first_difference(items: Sequence[Item]) -> DiffPlace | None:
    for place, item in enumerate(items):
        if isinstance(item, DifferentStep):
            left, right = (next(iter(seqs), None) for seqs in (item.left, item.right))
            return DiffPlace(item=place, left_seq=left, right_seq=right)
    return None


def counts_of(items: Iterable[Item]) -> DiffCounts:
    counts: Counter[str] = Counter()
    for item in items:
        counts[item.state] += item.count if isinstance(item, EqualSteps) else 1
    return DiffCounts(**counts)


def _items(rows: Iterable[Row], left: Mapping[int, int], right: Mapping[int, int]) -> Iterator[Item]:
    for _, group in groupby(rows, key=lambda row: isinstance(row, DifferentStep)):
        some = list(group)
        yield from (row for row in some if isinstance(row, DifferentStep))
        if same := [row for row in some if not isinstance(row, DifferentStep)]:
            lefts, rights = zip(*same, strict=True)
            yield EqualSteps(count=len(same), left=_spans(lefts, left), right=_spans(rights, right))


def _seqs(units: Iterable[Unit]) -> list[int]:
    return sorted(seq for unit in units for seq in unit.seqs)


def _numbered(units: Iterable[Unit]) -> dict[int, int]:
    return {seq: place for place, seq in enumerate(_seqs(units))}


def _spans(units: Iterable[Unit], places: Mapping[int, int]) -> tuple[Span, ...]:
    """Seqs that follow one another among all that count."""
    spans: list[Span] = []
    for seq in _seqs(units):
        if spans and places[seq] == places[spans[-1][1]] + 1:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))
    return tuple(spans)
