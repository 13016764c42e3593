"""`studio up`, `down`, `status`, `logs` and `doctor`: the terminal side of the embedded stack.

Exit codes: 0 as asked; 1 it could not be done, or something is not healthy; 3 for `up`: already
running, for `status`: not running; 130 interrupted before it was ready.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from studio.stack import control, foreground
from studio.stack.display import Progress, failure, report_table, summary
from studio.stack.doctor import Finding, examine
from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.folder import DEFAULT, DataFolder
from studio.stack.log_lines import merge, parse, printable, render
from studio.stack.logs import follow, last_lines
from studio.stack.plan import Options
from studio.stack.status import report

FAILED = 1
OTHER_STATE = 3
INTERRUPTED = 130

Folder = Annotated[
    Path,
    typer.Option("--folder", envvar="STUDIO_FOLDER", help="The data folder of the stack.", show_default=True),
]
app = typer.Typer(
    help="The embedded stack: broker, database and services on this machine.", no_args_is_help=True
)
console = Console()
errors = Console(stderr=True)


@app.command()
def up(
    folder: Folder = DEFAULT,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The gateway's port; 8000 or the next free one without it."),
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
            foreground.run(folder, Options(port=port), console)
    except AlreadyRunning as error:
        _say_running(folder, error)
        raise typer.Exit(OTHER_STATE) from error
    except (StackError, OSError) as error:
        _fail(error, folder)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        errors.print("stopped before it was ready; nothing was left running")
        raise typer.Exit(INTERRUPTED) from error


@app.command()
def down(
    folder: Folder = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Kill the supervisor instead of asking it.")] = False,
) -> None:
    """Stop everything that runs in the folder; runs in progress go on at the next start."""
    data = DataFolder.at(folder)
    try:
        progress = Progress(console, known=control.owner_state(data))
        stopped = control.kill_running(data) if force else control.stop_running(data, progress)
    except (StackError, OSError) as error:
        _fail(error, folder)
        raise typer.Exit(FAILED) from error
    console.print("stopped" if stopped else f"nothing runs in {data.root}", highlight=False)


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
        typer.echo(found.as_json())
    else:
        console.print(report_table(found, console.width))
    if not found.healthy:
        raise typer.Exit(OTHER_STATE if found.status == "stopped" else FAILED)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One process; all of them without it.")] = None,
    folder: Folder = DEFAULT,
    lines: Annotated[
        int, typer.Option("-n", min=0, max=10_000, help="How many of the last lines to show.")
    ] = 50,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The lines as they were written.")] = False,
) -> None:
    """Show what the processes logged, in order of time."""
    files = _log_files(DataFolder.at(folder), service)
    if raw:
        for file in files.values():
            for line in last_lines(file, lines):
                typer.echo(line)
    else:
        newest = merge({name: last_lines(file, lines) for name, file in files.items()})
        for name, entry in newest[len(newest) - min(lines, len(newest)) :]:
            console.print(render(name, entry), soft_wrap=True)
    if following:
        _follow(files, raw)


@app.command()
def doctor(folder: Folder = DEFAULT) -> None:
    """Look at the machine, the folder and what runs; say what is wrong and what to do."""
    findings = []
    for finding in examine(DataFolder.at(folder), Options()):
        findings.append(finding)
        _print_finding(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if problems:
        console.print(f"{problems} problem{'s' * (problems > 1)} found", style="red")
        raise typer.Exit(FAILED)
    console.print("no problems found", style="green")


def _up_detached(folder: DataFolder, port: int | None) -> None:
    with Progress(console) as progress:
        state = control.start_detached(folder, port, progress)
    console.print(summary(state))
    console.print("It runs in the background; `studio down` stops it.", style="dim")


def _say_running(folder: Path, error: AlreadyRunning) -> None:
    errors.print(str(error), style="yellow", markup=False)
    if state := control.owner_state(DataFolder.at(folder)):
        errors.print(summary(state))


def _fail(error: Exception, folder: Path) -> None:
    errors.print(failure(str(error)))
    logs = DataFolder.at(folder).logs
    if not logs.is_dir() or not any(logs.iterdir()):
        return
    doctor = "studio doctor" if folder == DEFAULT else f"studio doctor --folder {shlex.quote(str(folder))}"
    what = f"What to do: `{doctor}` explains; the logs are in {logs}"
    errors.print(Text(what, "dim"), soft_wrap=True)


def _log_files(folder: DataFolder, service: str | None) -> dict[str, Path]:
    files = {log.stem: log for log in sorted(folder.logs.glob("*.log"))}
    if not files:
        errors.print(f"there are no logs in {folder.logs}; `studio up` starts the stack", highlight=False)
        raise typer.Exit(FAILED)
    if service is not None and service not in files:
        errors.print(
            f"no process {service!r} has logged anything; there are {', '.join(files)}", markup=False
        )
        raise typer.Exit(FAILED)
    return files if service is None else {service: files[service]}


def _follow(files: dict[str, Path], raw: bool) -> None:
    try:
        for name, line in follow(files, stop=lambda: False):
            if raw:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            else:
                console.print(render(name, parse(line)), soft_wrap=True)
    except KeyboardInterrupt:
        return


def _print_finding(finding: Finding) -> None:
    mark, style = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}[finding.level]
    console.print(
        f"{mark} {printable(finding.what)}",
        style="" if finding.level == "ok" else style,
        markup=False,
        soft_wrap=True,
    )
    if finding.remedy:
        console.print(f"  → {finding.remedy}", markup=False, style="dim", soft_wrap=True)
