"""Two runs side by side: what is the same as one line, what differs in detail, what both took."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shared.diff.models import DifferentStep, EqualSteps, FieldChange, RunDiff, RunTotals
from shared.steps import Step
from studio.terminal.amounts import UNKNOWN, counted, duration, usd
from studio.terminal.differences import SIGNS, STYLES, Look, change_lines
from studio.terminal.grid import table
from studio.terminal.step_text import kind_style, step_words
from studio.terminal.text import plain

INDENT: Final = (0, 0, 0, 4)


def diff_view(diff: RunDiff, look: Look, steps: Sequence[Step] = ()) -> Group:
    """`steps` of the left run: then the steps that are the same are shown, too."""
    by_seq = {step.seq: step for step in steps}
    return Group(*_setup(diff, look), *_items(diff, look, by_seq), Text(), totals(diff))


def headline(diff: RunDiff) -> Text:
    """In one sentence."""
    if diff.equal:
        return Text("the runs are equal", "green")
    counts = {name: number for name, number in diff.counts.model_dump().items() if number}
    said = ", ".join(
        f"{number:,} {'the same' if name == 'equal' else name}" for name, number in counts.items()
    )
    setup = f"{counted(len(diff.setup), 'difference')} in the setup; " if diff.setup else ""
    return Text(f"{setup}steps: {said}" if said else f"{setup}no steps to compare", "yellow")


def totals(diff: RunDiff) -> Table:
    """What both took, and the difference."""
    left, right, delta = (list(_figures(each)) for each in (diff.left.totals, diff.right.totals, diff.delta))
    rows = (
        (name, one, other, _signed(between))
        for (name, one), (_, other), (_, between) in zip(left, right, delta, strict=True)
    )
    titles = ("", "left", "right", "difference")
    return table(titles, rows, right=titles[1:])


def _setup(diff: RunDiff, look: Look) -> Iterator[RenderableType]:
    if diff.setup:
        yield Text("~ setup", STYLES["changed"])
        yield _changes(diff.setup, look, more=diff.more_setup)


def _items(diff: RunDiff, look: Look, steps: Mapping[int, Step]) -> Iterator[RenderableType]:
    for item in diff.items:
        if isinstance(item, EqualSteps):
            yield from _equal(item, steps)
        else:
            yield Text.assemble(
                (f"{SIGNS[item.state]} {_what(item)}", STYLES[item.state]), (_where(item), "dim")
            )
            yield _changes(item.changes, look, more=item.more_changes)


def _equal(item: EqualSteps, steps: Mapping[int, Step]) -> Iterator[RenderableType]:
    spans = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in item.left)
    are = "step {} is" if spans.isdigit() else "steps {} are"
    yield Text(f"= {are.format(spans)} the same", STYLES["equal"])
    for first, last in item.left:
        for step in (steps[seq] for seq in range(first, last + 1) if seq in steps):
            says = Text.assemble((plain(step.kind), kind_style(step)), "  ", step_words(step).text())
            yield Padding(says, INDENT)


def _changes(changes: Iterable[FieldChange], look: Look, *, more: bool) -> Padding:
    lines = [line for change in changes for line in change_lines(change, look)]
    return Padding(Group(*lines, *([Text("… and more", "dim")] if more else [])), INDENT)


def _what(item: DifferentStep) -> str:
    return plain(f"{item.kind} {item.tool}" if item.tool else item.kind)


def _where(item: DifferentStep) -> str:
    """The seqs on both sides."""
    left, right = (", ".join(map(str, seqs)) for seqs in (item.left, item.right))
    return f"  {left} → {right}" if left and right and left != right else f"  {left or right}"


def _figures(found: RunTotals) -> Iterator[tuple[str, str]]:
    yield "steps", f"{found.steps:,}"
    yield "rounds", f"{found.rounds:,}"
    yield "model calls", f"{found.model_calls:,}"
    yield "tool calls", f"{found.tool_calls:,}"
    yield "tokens", f"{found.total_tokens:,}"
    yield "time of the model", _duration(found.model_latency_ms)
    yield "time", _duration(found.duration_ms)
    yield "USD", _usd(found.cost_usd)


def _duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return UNKNOWN
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{duration(abs(milliseconds) / 1000)}"


def _usd(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else usd(amount)


def _signed(figure: str) -> Text:
    """More is worse in every row."""
    if figure in (UNKNOWN, "0", "0 ms"):
        return Text("" if figure != UNKNOWN else figure, "dim")
    return Text(figure, "green") if figure.startswith("-") else Text(f"+{figure}", "red")
