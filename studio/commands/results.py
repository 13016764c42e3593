"""`studio artifacts` and `session`: their arguments. What they do is in `fetching.py` and `remembering.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.group import Json
from studio.commands.runs import Reference

app = typer.Typer()


@app.command()
def artifacts(
    run: Reference,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save them into this folder.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also in place of files that are there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List or save the files that the tools of a run made."""
    from studio.commands import fetching

    if save is None:
        fetching.list_artifacts(run, as_json=as_json)
    else:
        fetching.save_artifacts(run, save, overwrite=overwrite)


@app.command()
def session(
    session: Annotated[
        str | None, typer.Argument(metavar="ID", help="The session_id of its runs; all without it.")
    ] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="COUNT", min=1, help="Most runs, or sessions, to show.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show a session: its newest runs, what they cost, and what its agents remember; or list the sessions."""
    from studio.commands import remembering

    if session is None:
        remembering.list_sessions(limit, as_json=as_json)
    else:
        remembering.show_session(session, limit, as_json=as_json)
