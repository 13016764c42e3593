"""Starting a run and following it."""

import sys
import time
from contextlib import closing

from rich.console import Console
from rich.text import Text

from shared.step_codec import encode_step
from shared.steps import RunFinished, RunStatus, Step
from studio.client.errors import StudioError
from studio.client.models import Accepted, Run
from studio.client.options import RunOptions
from studio.client.sync import Studio
from studio.commands.connection import FAILED, connected
from studio.commands.patience import events_of, goes_on
from studio.terminal.amounts import counted, price, run_time
from studio.terminal.live import LiveRun
from studio.terminal.output import notices, results, write_line
from studio.terminal.runs_table import status_text
from studio.terminal.text import json_line

INTERRUPTED = 130
# How long a person is kept waiting for the price of a run that has ended.
COST_PATIENCE_S = 3.0
PAUSE_S = 0.25
MOST_INPUT = 1024 * 1024


class TooMuchInput(StudioError):
    """Standard input holds more than a prompt may."""


def run_prompt(prompt: str, options: RunOptions, *, as_json: bool, wait: bool) -> int:
    """The exit code of `studio run`."""
    accepted: Accepted | None = None
    try:
        with connected() as studio:
            accepted = studio.create(_text_of(prompt), **options)
            if not wait:
                _say_accepted(accepted, as_json=as_json)
                return 0
            status = _follow(studio, accepted.run_id, as_json=as_json)
    except KeyboardInterrupt:
        _say_interrupted(accepted)
        return INTERRUPTED
    return 0 if status is RunStatus.COMPLETED else FAILED


def settled(studio: Studio, run_id: str) -> Run:
    """The finished run, with its whole cost if that is known within a moment: charges follow the steps."""
    deadline = time.monotonic() + COST_PATIENCE_S
    before, run = None, studio.get(run_id)
    while not _is_charged(run, before) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        before, run = run, studio.get(run_id)
    return run


def _is_charged(run: Run, before: Run | None) -> bool:
    if not run.model_calls:
        return True
    if run.charged is not None:
        return not run.lacks_charges
    # A server that does not say how many calls it has charged: the sum has stopped growing.
    known = (run.total_cost_usd, run.unpriced)
    return any(known) and before is not None and known == (before.total_cost_usd, before.unpriced)


def follow(studio: Studio, run_id: str, console: Console) -> Run:
    """Show a run as it happens, to its end, and then what it came to."""
    with LiveRun(console) as live, closing(events_of(studio, run_id, live.say)) as events:
        for event in events:
            live.take(event)
        run = settled(studio, run_id)
    console.print(summary(run))
    return run


def summary(run: Run) -> Text:
    """What a run came to, on one line."""
    facts = (counted(run.step_count, "step"), f"{run.total_tokens:,} tokens", price(run), run_time(run))
    return Text.assemble(status_text(run), "  ", " · ".join(facts), (f"  run {run.run_id}", "dim"))


def _follow(studio: Studio, run_id: str, *, as_json: bool) -> RunStatus:
    if not as_json:
        return follow(studio, run_id, results()).status
    status = RunStatus.FAILED
    with closing(events_of(studio, run_id, notices().print)) as events:
        for event in events:
            if isinstance(event, Step):
                write_line(json_line(encode_step(event).decode()))
            if isinstance(event, RunFinished):
                status = event.status
    return status


def _text_of(prompt: str) -> str:
    """The prompt, read from standard input for `-`."""
    if prompt != "-":
        return prompt
    data = sys.stdin.buffer.read(MOST_INPUT + 1)
    if len(data) > MOST_INPUT:
        raise TooMuchInput(f"standard input holds more than {MOST_INPUT} bytes, which no prompt may have")
    return data.decode("utf-8", "surrogateescape")


def _say_accepted(accepted: Accepted, *, as_json: bool) -> None:
    if as_json:
        write_line(accepted.model_dump_json())
        return
    write_line(accepted.run_id)
    if sys.stdout.isatty():
        notices().print(Text(f"`studio show {accepted.run_id[-8:]}` shows how far it is", "dim"))


def _say_interrupted(accepted: Accepted | None) -> None:
    console = notices()
    if accepted is None:
        console.print("interrupted; `studio runs` shows whether the run was started")
        return
    console.print("interrupted", style="yellow")
    console.print(goes_on(accepted.run_id), style="dim")
