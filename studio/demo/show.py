"""The demo from start to end: what is said, in which order, and with which exit code it ends."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.steps import RunStatus
from studio.client.errors import StudioError
from studio.client.models import Run
from studio.commands.connection import tell
from studio.demo.approval import Attended
from studio.demo.asking import ask_all
from studio.demo.places import command, places
from studio.demo.replaying import replay_otherwise
from studio.demo.signals import Interrupts
from studio.demo.stage import Stage, running_stack
from studio.stack.causes import in_words
from studio.stack.display import failure
from studio.stack.errors import StackError
from studio.stack.foreground import DELETED, LOOK_S
from studio.terminal.amounts import cost, run_time
from studio.terminal.output import notices, results
from studio.terminal.runs_table import status_text
from studio.terminal.text import one_line, plain

COMPLETED: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130


def run_demo(folder: Path, *, once: bool) -> int:
    """The exit code; whatever it is, nothing that the demo started is left running."""
    console = results()
    code = INTERRUPTED
    with Interrupts() as interrupts:
        try:
            with running_stack(folder, interrupts, console) as stage:
                code = _perform(stage, console)
                _linger(stage, console, once=once or code != COMPLETED)
        except KeyboardInterrupt:
            notices().print(Text("stopped", "dim"))
            return code
        except (StackError, OSError) as error:
            notices().print(failure(in_words(error)), soft_wrap=True)
            return FAILED
    return code


def _perform(stage: Stage, console: Console) -> int:
    state = stage.state
    console.print(Text(plain(provider_words(state.provider, state.provider_url)), "bold"))
    try:
        with Attended(state.gateway_url, Path(state.key_file).read_text().strip()) as studio:
            runs = ask_all(studio, state, console)
            is_good = all(run.status is RunStatus.COMPLETED for run in runs)
            is_good = is_good and replay_otherwise(studio, runs[0], console)
    except StudioError as error:
        tell(error, f"the stack in {state.folder}")
        return FAILED
    console.print(Text(), _summary(runs))
    return COMPLETED if is_good else FAILED


def _linger(stage: Stage, console: Console, *, once: bool) -> None:
    """Until Ctrl-C, unless it is to end by itself. Raises StackError when the data folder is deleted."""
    if stage.own is not None and once:
        console.print(Text(f"\nThe stack ends with the demo; `{command()} up` starts it again.", "dim"))
        return
    console.print(Text(), places(stage.state.gateway_url, stage.state.key_file))
    if stage.own is None:
        console.print(Text("The stack was running before and goes on; `studio down` stops it.", "dim"))
        return
    console.print(Text("Everything goes on running until Ctrl-C.", "dim"))
    forever = threading.Event()
    while not forever.wait(LOOK_S):
        if stage.own.deleted:
            raise StackError(f"{DELETED}; everything was stopped")


def provider_words(provider: str, url: str) -> str:
    """Who answers, so that nobody takes the simulator for a model."""
    match provider:
        case "simulator":
            return f"The model is simulated, at {url}. With MISTRAL_API_KEY set, it is Mistral's."
        case "mistral":
            return f"The model is Mistral's, at {url}."
    return f"The model is served at {url}, as MISTRAL_SERVER_URL says."


def _summary(runs: Sequence[Run]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("prompt")
    table.add_column("status", no_wrap=True)
    for title in ("steps", "tokens", "USD", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs:
        prompt = Text(one_line(run.prompt or "", 60), no_wrap=True, overflow="ellipsis")
        amounts = (str(run.step_count), f"{run.total_tokens:,}", cost(run), run_time(run))
        table.add_row(prompt, status_text(run), *amounts)
    return table
