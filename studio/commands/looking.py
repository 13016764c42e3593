"""Listing runs and showing one."""

import sys
from datetime import UTC, datetime

from rich.text import Text

from studio.client.options import RunFilters
from studio.commands.connection import connected
from studio.commands.reference import in_words, run_id_of
from studio.terminal.output import notices, results, write_json
from studio.terminal.runs_table import runs_table
from studio.terminal.timeline import run_view

WIDE = 110


def list_runs(filters: RunFilters, limit: int, *, as_json: bool) -> None:
    """A table, or one line of JSON for each run."""
    with connected() as studio:
        found = studio.list(limit=limit, **filters)
        if as_json:
            for run in found:
                write_json(run)
            return
        listed = list(found)
    if not listed:
        wanted = any(value is not None for value in filters.values())
        notices().print("no run is like that" if wanted else 'no runs yet; `studio run "…"` starts one')
        return
    console, now = results(), datetime.now(UTC)
    narrow = console.width < WIDE
    console.print(runs_table(listed, now, short=sys.stdout.isatty(), narrow=narrow))


def show_run(typed: str, *, as_json: bool) -> None:
    """The run's timeline, or the run with its steps as one line of JSON."""
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id):
            run = studio.get(run_id)
    if as_json:
        write_json(run)
        return
    console = results()
    console.print(run_view(run, console.width))
    if not run.status.is_final and console.is_terminal:
        console.print(Text(f"It goes on: `studio cancel {run.run_id[-8:]}` ends it.", "dim"))
