"""`studio logs`: the last lines of the processes' logs, and those that follow.

Exit codes: 0 done, also when --follow ends with Ctrl-C; 1 there is nothing to show.
"""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from studio.commands.folder import DEFAULT, Folder
from studio.stack.folder import DataFolder
from studio.stack.log_lines import LogLine, merge, parse, render
from studio.stack.logs import follow, last_lines
from studio.terminal.output import notices, results, write_line

FAILED = 1
app = typer.Typer()


@app.command()
def logs(
    process: Annotated[
        str | None, typer.Argument(metavar="[PROCESS]", help="One process; all of them without it.")
    ] = None,
    folder: Folder = DEFAULT,
    lines: Annotated[
        int,
        typer.Option(
            "-n", "--lines", metavar="COUNT", min=0, max=10_000, help="How many of the last lines to show."
        ),
    ] = 50,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The lines as they were written.")] = False,
) -> None:
    """Show what the processes logged, in order of time."""
    files = _files(DataFolder.at(folder), process)
    newest = {name: last_lines(file, lines) for name, file in files.items()}
    if raw:
        for line in chain.from_iterable(newest.values()):
            write_line(line)
    else:
        for name, entry in merge(newest)[-lines:]:
            _show(name, entry)
    if following:
        _follow(files, raw=raw)


def _files(folder: DataFolder, process: str | None) -> dict[str, Path]:
    files = {log.stem: log for log in sorted(folder.logs.glob("*.log"))}
    if not files:
        notices().print(f"there are no logs in {folder.logs}; `studio up` starts the stack")
        raise typer.Exit(FAILED)
    if process is not None and process not in files:
        notices().print(f"no process {process!r} has logged anything; there are {', '.join(files)}")
        raise typer.Exit(FAILED)
    return files if process is None else {process: files[process]}


def _follow(files: Mapping[str, Path], *, raw: bool) -> None:
    try:
        for name, line in follow(files, stop=lambda: False):
            if raw:
                write_line(line)
            else:
                _show(name, parse(line))
    except KeyboardInterrupt:
        return


def _show(name: str, line: LogLine) -> None:
    results().print(render(name, line), soft_wrap=True)
