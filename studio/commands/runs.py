"""`studio run`, `runs`, `show`, `cancel` and `delete`: their arguments. What they do is in the modules
that they load when they are called, so that `studio --help` need not.

Exit codes: 0 done, and for `run` the run completed; 1 it failed or could not be done; 2 wrong arguments;
130 interrupted.
"""

from typing import Annotated

import typer

app = typer.Typer()

Reference = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or a part of its beginning or end that only it has.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs, and nothing else on standard output.")]
Agent = Annotated[str | None, typer.Option(metavar="NAME", help="The agent.", show_default=False)]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="The model.", show_default=False)]
Session = Annotated[str | None, typer.Option(metavar="ID", help="The session.", show_default=False)]


@app.command()
def run(
    prompt: Annotated[
        str,
        typer.Argument(metavar="PROMPT", help="What the agent is asked; `-` reads it from standard input."),
    ],
    agent: Agent = None,
    model: Model = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="0 for the most likely words.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="NUMBER", help="The model's random seed.")] = None,
    max_rounds: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Most answers that ask for tools.")
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A tool it may use, once for each; those of its agent without it."),
    ] = None,
    session: Session = None,
    as_json: Json = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run, or only start it.")] = True,
) -> None:
    """Run a prompt and show each step as it happens; with --json one line for each step."""
    from studio.client.options import RunOptions
    from studio.commands.running import run_prompt

    options = RunOptions(
        agent=agent,
        model=model,
        temperature=temperature,
        random_seed=seed,
        max_rounds=max_rounds,
        tools=tool,
        session_id=session,
    )
    raise typer.Exit(run_prompt(prompt, options, as_json=as_json, wait=wait))


@app.command()
def runs(
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="queued, running, waiting, completed, failed or cancelled."),
    ] = None,
    agent: Agent = None,
    model: Model = None,
    session: Session = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The user.")] = None,
    group: Annotated[str | None, typer.Option(metavar="LABEL", help="The label of a group of runs.")] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="COUNT", min=1, help="Most runs to list.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List the newest runs; with --json one line for each."""
    from studio.client.options import RunFilters
    from studio.commands.looking import list_runs

    filters = RunFilters(
        status=status, agent=agent, model=model, session_id=session, user_id=user, group=group
    )
    list_runs(filters, limit, as_json=as_json)


@app.command()
def show(run: Reference, as_json: Json = False) -> None:
    """Show a run's steps on a time axis, with latency, tokens and cost."""
    from studio.commands.looking import show_run

    show_run(run, as_json=as_json)


@app.command()
def cancel(
    run: Reference, why: Annotated[str, typer.Option(metavar="TEXT", help="Kept in the run's log.")] = ""
) -> None:
    """Ask for the end of a run."""
    from studio.commands.ending import cancel_run

    cancel_run(run, why)


@app.command()
def delete(
    run: Reference, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False
) -> None:
    """Erase a finished run: its content goes, what it cost stays counted."""
    from studio.commands.ending import delete_run

    delete_run(run, yes=yes)
