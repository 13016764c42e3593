"""`studio replay`, `fork` and `blame`: their arguments. What they do is in the modules that they load.

Exit codes: 0 done, whatever the verdict; 1 a replayed run failed, or a file's run does not repeat; 2 wrong
arguments, or a file that was tampered with; 130 interrupted.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from studio.commands.replay_arguments import Answers, Changed, Measured, Sampled, Told
from studio.commands.runs import Reference
from studio.commands.spread import spread

app = typer.Typer()

BUNDLE: Final = ".studio"
AS_RECORDED: Final = (
    "it is replayed as it was recorded; `studio import FILE` brings it where it can be changed"
)


@app.command()
@spread
def replay(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN|FILE", help="Runs, by id or a part of it, or one run that is a file."),
    ],
    changed: Changed,
    sampled: Sampled,
    measured: Measured,
    answers: Answers,
    told: Told,
    signer: Annotated[
        str | None, typer.Option(metavar="FINGERPRINT", help="Of a FILE: whose key must have signed it.")
    ] = None,
) -> None:
    """Run it again with anything changed; with several samples, say whether it is better.

    A FILE (see `studio bundle`) is verified and replayed as it was recorded, without any server.
    """
    if file := _file_in(runs):
        if (changed, sampled, measured, answers) != (Changed(), Sampled(), Measured(), Answers()):
            raise typer.BadParameter(AS_RECORDED, param_hint="FILE")
        from studio.commands.bundle_replay import replay_file

        raise typer.Exit(replay_file(file, signer=signer, as_json=told.as_json))
    from studio.commands import replaying

    raise typer.Exit(replaying.rerun(runs, replaying.Wish(changed, sampled, measured, answers), told))


@app.command()
@spread
def fork(
    run: Reference,
    changed: Changed,
    sampled: Sampled,
    measured: Measured,
    answers: Answers,
    told: Told,
    step: Annotated[
        int | None,
        typer.Option(metavar="SEQ", min=0, help="The last step that is kept; without it all are listed."),
    ] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP.FIELD=VALUE",
            help="A kept step otherwise: STEP.content, STEP.result, or STEP.arguments[.CALL_ID] of the "
            "thought forked at; @FILE as VALUE reads it from there. Repeatable.",
        ),
    ] = None,
) -> None:
    """Let a run go on from one of its steps, with anything changed up to there; the original stays."""
    from studio.commands import replaying

    wish = replaying.Wish(changed, sampled, measured, answers)
    if step is None:
        if edit or wish != replaying.Wish(Changed(), Sampled(), Measured(), Answers()):
            raise typer.BadParameter("say behind which step to fork; without anything all are listed")
        raise typer.Exit(replaying.list_fork_points(run))
    raise typer.Exit(replaying.fork(run, step, edit or [], wish, told))


@app.command()
@spread
def blame(
    run: Reference,
    measured: Measured,
    answers: Answers,
    told: Told,
    samples: Annotated[
        int, typer.Option("-n", "--samples", metavar="COUNT", min=1, help="Runs for each step looked at.")
    ] = 5,
    most_runs: Annotated[int, typer.Option(metavar="COUNT", min=1, help="Most runs in all.")] = 60,
    threshold: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="From which value of the metric on a run is good.")
    ] = None,
) -> None:
    """Find the step after which a run went wrong, by forking it at several."""
    from studio.client.replay_options import ReplayOptions
    from studio.commands import replaying

    options = ReplayOptions(samples=samples, most_runs=most_runs, threshold=threshold)
    raise typer.Exit(replaying.blame(run, options, (measured, answers), told))


def _file_in(typed: list[str]) -> Path | None:
    """The file that is meant, which is a run by itself."""
    files = [Path(each) for each in typed if Path(each).suffix == BUNDLE or Path(each).is_file()]
    if files and len(typed) > 1:
        raise typer.BadParameter("one file at a time, and no runs beside it", param_hint="FILE")
    return files[0] if files else None
