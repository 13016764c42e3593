"""How often runs succeed that were forked at a step, as bars; and the step to blame."""

from collections.abc import Mapping
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shared.findings import Blame, PointProbability
from shared.steps import Step
from studio.terminal.amounts import figure
from studio.terminal.step_text import step_words
from studio.terminal.text import plain

CELLS: Final = 24
START: Final = "from the start"
STYLES: Final = {"found": "red", "from-start": "yellow", "undecided": "yellow"}


def blame_view(blame: Blame, steps: Mapping[int, Step]) -> Group:
    """A bar for each step, the verdict below."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("forked at", "succeeded", "", "share", "interval"):
        made.add_column(title, no_wrap=True, justify="right" if title in ("succeeded", "share") else "left")
    made.add_column("up to and with", overflow="fold")
    for point in blame.points:
        low, high = point.interval.low, point.interval.high
        made.add_row(
            f"step {point.point}",
            f"{point.successes} of {point.tries}",
            Text(bar(point), "cyan"),
            f"{figure(point.probability * 100)} %",
            f"[{figure(low * 100)}, {figure(high * 100)}]",
            _step(steps.get(point.point)) if point.point else Text(START, "dim"),
        )
    return Group(made, Text(), Text(plain(blame.words), STYLES[blame.verdict]))


def bar(point: PointProbability) -> str:
    """Full up to the share, then hatched up to the end of its interval."""
    full, upper = (round(end * CELLS) for end in (point.probability, point.interval.high))
    return ("█" * full + "░" * max(0, upper - full)).ljust(CELLS, "·")


def _step(step: Step | None) -> Text:
    if step is None:
        return Text()
    return Text.assemble((plain(step.kind), "dim"), "  ", step_words(step).short())
