"""Runs side by side, one row each."""

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from studio.client.models import RunSummary
from studio.terminal.amounts import UNKNOWN, age, cost, run_time
from studio.terminal.step_text import STATUS_STYLES
from studio.terminal.text import one_line

SHORT_ID = 8
LONGEST = 60


def runs_table(runs: Sequence[RunSummary], now: datetime, *, short: bool, narrow: bool) -> Table:
    """`short`: the end of the id only, which is enough for the other commands; ids begin alike.
    `narrow`: without agent and model."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("run", "status", "created"):
        table.add_column(title, no_wrap=True)
    # Where the terminal is narrow these give way, the widest first.
    for title in ("prompt",) if narrow else ("agent", "model", "prompt"):
        table.add_column(title)
    for title in ("steps", "tokens", "USD", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.run_id[-SHORT_ID:] if short else run.run_id,
            status_text(run),
            age(run.created_at, now),
            *map(_cut, () if narrow else (run.agent or UNKNOWN, run.model or UNKNOWN)),
            _cut(run.prompt or ""),
            str(run.step_count),
            f"{run.total_tokens:,}",
            cost(run),
            run_time(run),
        )
    return table


def status_text(run: RunSummary) -> Text:
    return Text(run.status, STATUS_STYLES[run.status])


def _cut(text: str) -> Text:
    """On one line, which ends where the column does."""
    return Text(one_line(text, LONGEST), no_wrap=True, overflow="ellipsis")
