"""`studio agents` and what stands behind it: the arguments. What is done is in `keeping.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from typing import Annotated

import typer

from studio.commands.group import File, Json, noun

app = typer.Typer()
agents = noun(app, "agents", "List the agents, or show, create, change and compare them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The agent.")]


@agents.command("list")
def list_agents(
    archived: Annotated[bool, typer.Option("--archived", help="Those that are archived.")] = False,
    as_json: Json = False,
) -> None:
    """List the agents, as `studio agents` alone does."""
    from studio.commands import keeping

    keeping.list_agents(archived=archived, as_json=as_json)


@agents.command()
def show(
    name: Name,
    version: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="The newest without it.")
    ] = None,
    definition: Annotated[
        bool, typer.Option("--definition", help="Only what `update` takes, as JSON to be edited.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show an agent."""
    from studio.commands import keeping

    keeping.show_agent(name, version, only_definition=definition, as_json=as_json)


@agents.command()
def create(file: File) -> None:
    """Create an agent."""
    from studio.commands import keeping

    keeping.create_agent(file)


@agents.command()
def update(
    file: File,
    expect: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, help="Only if this is still the newest version."),
    ] = None,
) -> None:
    """Make a new version of an agent, which says what the file says and nothing else."""
    from studio.commands import keeping

    keeping.update_agent(file, expect)


@agents.command()
def archive(name: Name) -> None:
    """Let no run name an agent any more; its versions stay."""
    from studio.commands import keeping

    keeping.archive_agent(name)


@agents.command()
def diff(
    name: Name,
    old: Annotated[int, typer.Argument(metavar="OLD", min=1, help="A version.")],
    new: Annotated[int, typer.Argument(metavar="NEW", min=1, help="Another version.")],
    as_json: Json = False,
) -> None:
    """Show what differs between two versions of an agent."""
    from studio.commands import keeping

    keeping.diff_agent(name, old, new, as_json=as_json)
