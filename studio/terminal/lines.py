"""A step as one row: when it came, its kind, what it says. For the live view and wherever steps follow."""

from datetime import datetime

from rich.table import Table
from rich.text import Text

from shared.steps import Step
from studio.client.events import Retrying
from studio.terminal.amounts import duration
from studio.terminal.step_text import kind_style, retry_words, step_words
from studio.terminal.text import plain

OFFSET_WIDTH = 11
KIND_WIDTH = 18


def step_row(step: Step, began: datetime) -> Table:
    """The row of a step; `began` is the time of the run's first step."""
    when = duration((step.at - began).total_seconds())
    return row(f"+{when}", Text(plain(step.kind), kind_style(step)), step_words(step).text())


def retry_row(retry: Retrying) -> Table:
    """The row of a model call's failed try."""
    says = Text(retry_words(retry.status, retry.error, retry.wait_s), "yellow")
    return row("", Text("retry", "yellow"), says)


def row(when: str, kind: Text, says: Text) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=OFFSET_WIDTH, justify="right", style="dim", no_wrap=True)
    grid.add_column(width=KIND_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(when, kind, says)
    return grid
