"""One run over time: what it was and cost, then each step with its place on the time axis."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shared.steps import AgentResponse, AgentThought, Step, ToolResult
from studio.client.models import Run
from studio.terminal.amounts import UNKNOWN, counted, duration, price, run_time, size, tokens
from studio.terminal.runs_table import status_text
from studio.terminal.step_text import kind_style, retry_words, step_words
from studio.terminal.text import one_line, plain

BAR_WIDTH = 24
LEAST_BAR = 6
# With the whole bar and room for what a step says.
WIDE = 100
PROMPT_LIMIT = 500


def run_view(run: Run, width: int = WIDE) -> Group:
    """The run with all its steps, for a terminal of that width."""
    timeline = _timeline(run.steps, bar_width(width))
    return Group(_head(run), Text(), timeline, *_attempts(run.steps), Text(), _ending(run))


def bar_width(width: int) -> int:
    """What the words leave of the width; zero where a bar would say nothing."""
    left = min(BAR_WIDTH, width - WIDE + BAR_WIDTH)
    return left if left >= LEAST_BAR else 0


def bar(begin: float, end: float, total: float, width: int = BAR_WIDTH) -> str:
    """The part of `width` cells from `begin` to `end` of `total` seconds; a moment is a thin mark."""
    scale = width / total if total > 0 else 0.0
    first = min(int(begin * scale), width - 1)
    if end <= begin:
        return " " * first + "▏"
    cells = max(1, min(round((end - begin) * scale), width - first))
    return " " * first + "█" * cells


def took(step: Step) -> timedelta:
    """How long what the step reports had taken, zero for a mere event."""
    match step:
        case AgentThought() | AgentResponse():
            return timedelta(milliseconds=step.model_call.latency_ms)
        case ToolResult():
            return timedelta(milliseconds=step.latency_ms)
    return timedelta()


def _head(run: Run) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    agent = f"{run.agent or UNKNOWN} v{run.agent_version or UNKNOWN} · {run.model or UNKNOWN}"
    grid.add_row("run", run.run_id)
    grid.add_row("status", Text.assemble(status_text(run), f" in {run_time(run)}" if run.duration else ""))
    grid.add_row("agent", plain(agent))
    calls = (counted(run.model_calls, "model call"), counted(run.tool_calls, "tool call"))
    grid.add_row("usage", " · ".join((tokens(run.usage), *calls)))
    grid.add_row("cost", price(run))
    for label, value in (("session", run.session_id), ("user", run.user_id), ("group", run.group)):
        if value and value != "default":
            grid.add_row(label, one_line(value))
    if (plan := run.replay) is not None:
        at = f" at step {plan.fork_step}" if plan.fork_step is not None else ""
        edits = ", ".join(f"{edit.step}.{edit.field}" for edit in plan.edits)
        edited = f", edited {edits}" if edits else ""
        grid.add_row("replay", f"{plan.mode} of {plan.source_run_id}{at}{edited}")
    if run.artifacts:
        files = ", ".join(f"{one_line(file.name, 60)} ({size(file.size)})" for file in run.artifacts)
        save = f"  `studio artifacts {run.run_id[-8:]} --save DIR`"
        grid.add_row("files", Text.assemble(files, (save, "dim")))
    grid.add_row("prompt", one_line(run.prompt or "", PROMPT_LIMIT))
    return grid


def _timeline(steps: Sequence[Step], cells: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("at", "took"):
        table.add_column(title, justify="right", no_wrap=True)
    if cells:
        table.add_column(Text("─" * cells, "dim"), width=cells, no_wrap=True)
    table.add_column("step", no_wrap=True)
    table.add_column("", overflow="fold")
    if steps:
        began, total = steps[0].at, (steps[-1].at - steps[0].at).total_seconds()
        for step in steps:
            table.add_row(*_row(step, began, total, cells))
    return table


def _row(step: Step, began: datetime, total: float, cells: int) -> tuple[str | Text, ...]:
    end, length = (step.at - began).total_seconds(), took(step).total_seconds()
    style = kind_style(step)
    return (
        f"+{duration(end)}",
        duration(length) if length else "",
        *((Text(bar(max(0.0, end - length), end, total, cells), style),) if cells else ()),
        Text(plain(step.kind), style),
        step_words(step).short(),
    )


def _attempts(steps: Sequence[Step]) -> Iterator[Text]:
    """The failed tries of each model call; they are a part of its step."""
    for step in steps:
        if isinstance(step, AgentThought | AgentResponse):
            for attempt in step.model_call.attempts:
                says = f"step {step.seq}: {retry_words(attempt.status, attempt.error, attempt.wait_s)}"
                yield Text(says, "yellow")


def _ending(run: Run) -> Text:
    if run.error is not None:
        again = " (a new try may succeed)" if run.error.retryable else ""
        return Text(f"{plain(run.error.type)}: {plain(run.error.message)}{again}", "red")
    if run.response is None:
        return Text("no response" if run.status.is_final else "no response yet", "dim")
    cut = f"\n[cut here; the whole is stored as {run.response_body[:12]}]" if run.response_body else ""
    return Text.assemble((plain(run.response).strip(), "bold"), (cut, "dim"))
