"""The comparison of two runs as a whole, put together from alignment, changes and totals. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Literal

from shared.diff.alignment import aligned
from shared.diff.items import Row, collapsed, counts_of, first_difference
from shared.diff.matching import Effort
from shared.diff.models import DifferentStep, EqualSteps, FieldChange, RunDiff
from shared.diff.setup import setup_of
from shared.diff.totals import delta, side_of
from shared.diff.units import Unit, units_of
from shared.diff.values import added, canonical, changes, removed
from shared.run_state import LogGap
from shared.steps import RunRequested, Step, UserRequest

MOST_CHANGES: Final = 200


def diff_runs(
    left: Sequence[Step],
    right: Sequence[Step],
    *,
    left_usd: Decimal | None = None,
    right_usd: Decimal | None = None,
) -> RunDiff:
    """How `right` differs from `left`, each the steps of a run from step 0 on, as far as it has come.

    What they cost is not in the steps; None: it is not known. Raises LogGap when a step is missing.
    """
    effort = Effort()
    setup, more_setup = _first(_setup_changes(left, right, effort))
    units = units_of(left), units_of(right)
    items = collapsed(_rows(*units, effort), *units)
    sides = side_of(left, left_usd), side_of(right, right_usd)
    return RunDiff(
        equal=not setup and all(isinstance(item, EqualSteps) for item in items),
        complete=all(side.status.is_final for side in sides),
        left=sides[0],
        right=sides[1],
        delta=delta(sides[0].totals, sides[1].totals),
        setup=setup,
        more_setup=more_setup,
        first_difference=first_difference(items),
        counts=counts_of(items),
        items=items,
    )


def _setup_changes(left: Sequence[Step], right: Sequence[Step], effort: Effort) -> Iterator[FieldChange]:
    both_repeat_it = all(any(isinstance(step, UserRequest) for step in steps) for steps in (left, right))
    one, other = (setup_of(_request(steps), with_prompt=not both_repeat_it) for steps in (left, right))
    return changes(one, other, effort)


def _request(steps: Sequence[Step]) -> RunRequested:
    if not steps or not isinstance(steps[0], RunRequested):
        raise LogGap("the steps do not begin with a run's step 0, run-requested")
    return steps[0]


def _first(found: Iterable[FieldChange]) -> tuple[tuple[FieldChange, ...], bool]:
    """The first of them, and whether there are more."""
    some = tuple(islice(found, MOST_CHANGES + 1))
    return some[:MOST_CHANGES], len(some) > MOST_CHANGES


def _rows(left: Sequence[Unit], right: Sequence[Unit], effort: Effort) -> Iterator[Row]:
    i = j = 0
    for place, other in aligned([unit.keys for unit in left], [unit.keys for unit in right]):
        yield from _alone(left[i:place], right[j:other])
        yield _difference(left[place], right[other], effort) or (left[place], right[other])
        i, j = place + 1, other + 1
    yield from _alone(left[i:], right[j:])


def _alone(left: Iterable[Unit], right: Iterable[Unit]) -> Iterator[Row]:
    for unit in left:
        gone = tuple(removed(value, f"/{name}") for name, value in unit.says.items())
        yield _different("removed", unit, gone, left=unit.seqs)
    for unit in right:
        new = tuple(added(value, f"/{name}") for name, value in unit.says.items())
        yield _different("added", unit, new, right=unit.seqs)


def _difference(left: Unit, right: Unit, effort: Effort) -> DifferentStep | None:
    if left.tool == right.tool and canonical(left.says) == canonical(right.says):
        return None
    one, other = ({"tool": unit.tool, **unit.says} for unit in (left, right))
    found, more = _first(changes(one, other, effort))
    if not found:
        return None
    return _different("changed", right, found, left=left.seqs, right=right.seqs, more_changes=more)


def _different(
    state: Literal["changed", "removed", "added"], unit: Unit, found: tuple[FieldChange, ...], **fields: Any
) -> DifferentStep:
    given = {"left": (), "right": (), **fields}
    return DifferentStep(state=state, kind=unit.kind, tool=unit.tool, changes=found, **given)
