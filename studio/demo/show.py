"""The demo from start to end: what is said, in which order, and with which exit code it ends."""

import shutil
import sys
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
from studio.client.sync import Studio
from studio.commands.connection import tell
from studio.commands.running import follow
from studio.demo.advice import advice
from studio.demo.prompts import Prompt, prompts
from studio.demo.signals import Interrupts
from studio.demo.stage import Stage, running_stack
from studio.stack.causes import in_words
from studio.stack.display import failure
from studio.stack.errors import StackError
from studio.stack.foreground import DELETED, LOOK_S
from studio.stack.state import StackState
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
        with Studio(state.gateway_url, Path(state.key_file).read_text().strip()) as studio:
            runs = _ask_all(studio, state, console)
    except StudioError as error:
        tell(error, f"the stack in {state.folder}")
        return FAILED
    console.print(Text(), _summary(runs))
    return COMPLETED if all(run.status is RunStatus.COMPLETED for run in runs) else FAILED


def _ask_all(studio: Studio, state: StackState, console: Console) -> list[Run]:
    """Up to the first prompt that fails for a reason for which the others would fail, too."""
    asked, runs = prompts(state.provider), list[Run]()
    for number, prompt in enumerate(asked, 1):
        runs.append(_ask(studio, prompt, f"{number}/{len(asked)}", console))
        if says := advice(runs[-1].error, state.provider, state.provider_url):
            notices().print(Text(f"\n{plain(says)}", "red"), soft_wrap=True)
            break
    return runs


def _ask(studio: Studio, prompt: Prompt, number: str, console: Console) -> Run:
    console.print(
        Text.assemble("\n", (number, "cyan"), "  ", (prompt.text, "bold"), f"\n     {prompt.shows}\n")
    )
    return follow(studio, studio.create(prompt.text, session_id="demo", group="demo").run_id, console)


def _linger(stage: Stage, console: Console, *, once: bool) -> None:
    """Until Ctrl-C, unless it is to end by itself. Raises StackError when the data folder is deleted."""
    if stage.own is not None and once:
        console.print(Text(f"\nThe stack ends with the demo; `{_command()} up` starts it again.", "dim"))
        return
    console.print(Text(), _places(stage.state.gateway_url, stage.state.key_file))
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


def _places(url: str, key_file: str) -> Table:
    """Where to go on."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    command = _command()
    for label, value in (
        ("API docs", f"{url}/docs"),
        ("OpenAPI", f"{url}/openapi.json"),
        ("metrics", f"{url}/metrics"),
        ("API key", key_file),
        ("your own prompt", f'{command} run "What is 2 to the power of 10?"'),
        ("all runs", f"{command} runs"),
    ):
        grid.add_row(Text(label, "dim"), Text(value))
    return grid


def _command() -> str:
    """How this installation's `studio` is called from here."""
    ours = Path(sys.executable).with_name("studio")
    found = shutil.which("studio")
    if not ours.exists() or (found and Path(found).resolve() == ours.resolve()):
        return "studio"
    here = Path.cwd()
    return str(ours.relative_to(here) if ours.is_relative_to(here) else ours)
