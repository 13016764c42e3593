"""Ending runs: by cancelling one that goes on, and by erasing one that has finished."""

import typer

from studio.commands.connection import connected
from studio.commands.reference import in_words, run_id_of
from studio.terminal.output import results


def cancel_run(typed: str, why: str) -> None:
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id, "has ended already; `studio show {short}` shows how"):
            studio.cancel(run_id, why)
    results().print(f"asked run {run_id} to end; `studio show {run_id[-8:]}` shows how it did")


def delete_run(typed: str, *, yes: bool) -> None:
    """Asks first, unless `yes`."""
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        if not yes:
            typer.confirm(f"Erase run {run_id} for good?", abort=True, err=True)
        with in_words(run_id, "has not finished; `studio cancel {short}` ends it, then it can be deleted"):
            studio.delete(run_id)
    results().print(f"erased run {run_id}")
