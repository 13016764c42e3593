"""`studio up`, `down`, `status` and `doctor`: the terminal side of the embedded stack.

Exit codes: 0 as asked; 1 it could not be done, or something is not healthy; 3 for `up`: already
running, for `status`: not running; 130 interrupted before it was ready.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from studio.commands.folder import DEFAULT, Folder
from studio.stack import control, foreground
from studio.stack.causes import in_words
from studio.stack.display import Progress, failure, report_table, summary
from studio.stack.doctor import Finding, examine
from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.folder import DataFolder
from studio.stack.plan import Options
from studio.stack.status import report
from studio.terminal.output import notices, results, write_line
from studio.terminal.text import plain

FAILED = 1
OTHER_STATE = 3
INTERRUPTED = 130

app = typer.Typer()


@app.command()
def up(
    folder: Folder = DEFAULT,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=1, max=65535, help="The gateway's port; 8000 or the next free one without it."
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready, and let it run.")
    ] = False,
) -> None:
    """Start everything and stay until Ctrl-C (or return once it is ready, with --detach).

    Exit code 3: it is already running in the folder, with or without --detach; 130: interrupted before it
    was ready.
    """
    try:
        if detach:
            _up_detached(DataFolder.at(folder), port)
        else:
            foreground.run(folder, Options(port=port), results())
    except AlreadyRunning as error:
        _say_running(folder, error)
        raise typer.Exit(OTHER_STATE) from error
    except (StackError, OSError) as error:
        _fail(error, folder)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        notices().print("stopped before it was ready; nothing was left running")
        raise typer.Exit(INTERRUPTED) from error


@app.command()
def down(
    folder: Folder = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Kill the supervisor instead of asking it.")] = False,
) -> None:
    """Stop everything that runs in the folder; runs in progress go on at the next start."""
    data = DataFolder.at(folder)
    try:
        progress = Progress(results(), known=control.owner_state(data))
        stopped = control.kill_running(data) if force else control.stop_running(data, progress)
    except (StackError, OSError) as error:
        _fail(error, folder)
        raise typer.Exit(FAILED) from error
    results().print("stopped" if stopped else f"nothing runs in {data.root}")


@app.command()
def status(
    folder: Folder = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """Show every process with its health, port and memory, and where the API key is."""
    try:
        found = report(DataFolder.at(folder))
    except (StackError, OSError) as error:
        _fail(error, folder)
        raise typer.Exit(FAILED) from error
    if as_json:
        write_line(found.as_json())
    else:
        console = results()
        console.print(report_table(found, console.width))
    if not found.healthy:
        raise typer.Exit(OTHER_STATE if found.status == "stopped" else FAILED)


@app.command()
def doctor(folder: Folder = DEFAULT) -> None:
    """Look at the machine, the folder and what runs; say what is wrong and what to do."""
    console, findings = results(), []
    for finding in examine(DataFolder.at(folder), Options()):
        findings.append(finding)
        console.print(_shown(finding), soft_wrap=True)
    problems = sum(finding.level == "problem" for finding in findings)
    if problems:
        console.print(f"{problems} problem{'s' * (problems > 1)} found", style="red")
        raise typer.Exit(FAILED)
    console.print("no problems found", style="green")


def _up_detached(folder: DataFolder, port: int | None) -> None:
    console = results()
    with Progress(console) as progress:
        state = control.start_detached(folder, port, progress)
    console.print(summary(state))
    console.print("It runs in the background; `studio down` stops it.", style="dim")


def _say_running(folder: Path, error: AlreadyRunning) -> None:
    console = notices()
    console.print(str(error), style="yellow")
    if state := control.owner_state(DataFolder.at(folder)):
        console.print(summary(state))


def _fail(error: Exception, folder: Path) -> None:
    console = notices()
    console.print(failure(in_words(error)), soft_wrap=True)
    logs = DataFolder.at(folder).logs
    if not logs.is_dir() or not any(logs.iterdir()):
        return
    doctor = "studio doctor" if folder == DEFAULT else f"studio doctor --folder {shlex.quote(str(folder))}"
    console.print(Text(f"What to do: `{doctor}` explains; the logs are in {logs}", "dim"), soft_wrap=True)


def _shown(finding: Finding) -> Text:
    mark, style = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}[finding.level]
    what = Text(f"{mark} {plain(finding.what)}", "" if finding.level == "ok" else style)
    return Text.assemble(what, (f"\n  → {finding.remedy}", "dim")) if finding.remedy else what
