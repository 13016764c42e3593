"""`studio replays`, `diff`, `lineage` and `verify`: their arguments.

Exit codes: 0 done, and for `diff` and `verify` equal; 1 different, or it could not be done; 2 wrong
arguments, and for `diff` that there was nothing to compare.
"""

from typing import Annotated

import typer

from studio.commands.group import Json, noun
from studio.commands.replay_arguments import Changed
from studio.commands.runs import Reference
from studio.commands.spread import spread

app = typer.Typer()
replays = noun(app, "replays", "Replays: what was ordered, how far they are, what came of them.")

ReplayReference = Annotated[
    str, typer.Argument(metavar="REPLAY", help="A replay's id, or a part of its beginning or end.")
]


@replays.command("list")
def list_replays(
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="COUNT", min=1, help="Most replays to list.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List the newest replays."""
    from studio.commands import recalling

    recalling.list_replays(limit, as_json=as_json)


@replays.command("show")
def show_replay(replay: ReplayReference, as_json: Json = False) -> None:
    """Show what has come of a replay so far."""
    from studio.commands import recalling

    recalling.show_replay(replay, as_json=as_json)


@replays.command("runs")
def list_runs(replay: ReplayReference, as_json: Json = False) -> None:
    """List the runs of a replay, with what each was measured by."""
    from studio.commands import recalling

    recalling.list_runs(replay, as_json=as_json)


@replays.command("cancel")
def cancel_replay(replay: ReplayReference) -> None:
    """End a replay and its runs; what was measured stays."""
    from studio.commands import recalling

    recalling.cancel_replay(replay)


@app.command()
def diff(
    left: Annotated[str, typer.Argument(metavar="LEFT", help="The run that counts as the original.")],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="The run that is compared with it.")],
    full: Annotated[
        bool, typer.Option("--full", help="Also the steps that are the same, and long texts whole.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where two runs differ, step by step, and what both took."""
    from studio.commands import comparing

    raise typer.Exit(comparing.diff_runs(left, right, whole=full, as_json=as_json))


@app.command()
def lineage(run: Reference, as_json: Json = False) -> None:
    """Show the run that a run comes from, and all replays of it, as a tree."""
    from studio.commands import comparing

    comparing.show_lineage(run, as_json=as_json)


@app.command()
@spread
def verify(
    changed: Changed,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]…", help="Runs, by id or a part of it.")
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", help="All runs that have ended.")] = False,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Of all: only completed, failed or cancelled ones.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Where one parts, also the difference of the requests.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove that runs repeat: every request is made again from the log and compared with what was sent.

    With something changed (--agent, --instructions …) it is said where they would part first. Nothing is
    asked of a model or a tool, and nothing is spent.
    """
    from studio.commands import verifying
    from studio.commands.replay_wishes import changes

    if bool(runs) == is_all:
        raise typer.BadParameter("name runs, or say --all", param_hint="RUN")
    looking = verifying.Looking(changes(changed), show=show, as_json=as_json)
    raise typer.Exit(verifying.verify(runs or [], status, looking))
