"""Deciding for runs that wait, or have failed: the commands' arguments; the rest is in `deciding.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from enum import StrEnum
from typing import Annotated

import typer

from studio.commands.runs import Json, Reference

app = typer.Typer()

Call = Annotated[
    str | None,
    typer.Option(metavar="CALL", help="Which call, when several of the run wait.", show_default=False),
]


class Outcome(StrEnum):
    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did-not-happen"
    FAIL = "fail"


@app.command()
def waiting(as_json: Json = False) -> None:
    """List the runs that wait for a person, with the calls they ask about."""
    from studio.commands import deciding

    deciding.list_waiting(as_json=as_json)


@app.command()
def approve(
    run: Reference,
    call: Call = None,
    arguments: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Make the call with these arguments instead.", show_default=False),
    ] = None,
) -> None:
    """Allow the call that a run waits with."""
    from studio.commands import deciding

    deciding.approve(run, call, arguments)


@app.command()
def deny(
    run: Reference,
    call: Call = None,
    note: Annotated[str, typer.Option(metavar="WORDS", help="Told to the model.", show_default=False)] = "",
) -> None:
    """Refuse the call that a run waits with; the run goes on without it."""
    from studio.commands import deciding

    deciding.deny(run, call, note)


@app.command()
def settle(
    run: Reference,
    outcome: Annotated[Outcome, typer.Argument(metavar="OUTCOME", help="happened, did-not-happen or fail.")],
    result: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="What the call gave, when it happened.", show_default=False),
    ] = None,
) -> None:
    """Say what became of a call whose runner died in the middle of it."""
    from studio.commands import deciding

    deciding.settle(run, outcome.value, result)


@app.command()
def resume(
    run: Reference,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", help="What the run may spend from now on, in all.", show_default=False),
    ] = None,
) -> None:
    """Let a run that waits be looked at again, with a higher budget if it has used up its own."""
    from studio.commands import deciding

    deciding.resume(run, budget)


@app.command()
def retry(
    run: Reference,
    why: Annotated[str, typer.Option(metavar="WORDS", help="Noted in the run.", show_default=False)] = "",
) -> None:
    """Let a run that failed or was cancelled go on from its last good step."""
    from studio.commands import deciding

    deciding.retry(run, why)
