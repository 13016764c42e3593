"""Keeping agents from the command line: listing and showing them, and changing them by files."""

from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from studio.commands.connection import connected
from studio.commands.definition import NoDefinition, read_definition, write_definition
from studio.commands.lists import print_list
from studio.terminal.agents import agent_view, agents_table, diff_view
from studio.terminal.output import notices, results, write_json


def list_agents(*, archived: bool, as_json: bool) -> None:
    """A table, or one line of JSON for each."""
    with connected() as studio:
        found = list(studio.agents(archived=archived))
    print_list(found, agents_table(found, datetime.now(UTC)), "no agent is archived", as_json=as_json)


def show_agent(name: str, version: int | None, *, only_definition: bool, as_json: bool) -> None:
    with connected() as studio:
        agent = studio.agent(name, version)
    if only_definition:
        write_definition(agent.definition)
    elif as_json:
        write_json(agent)
    else:
        results().print(agent_view(agent))


def create_agent(file: Path) -> None:
    with connected() as studio:
        agent = studio.create_agent(read_definition(file))
    results().print(f'created {agent.name}; `studio run --agent {agent.name} "…"` runs it')


def update_agent(file: Path, expected: int | None) -> None:
    with connected() as studio:
        definition = read_definition(file)
        name = definition.get("name")
        if not isinstance(name, str):
            raise NoDefinition(f'{file} does not say which agent it is: give it a "name"')
        agent = studio.update_agent(name, definition, version=expected)
    results().print(f"{agent.name} is at version {agent.version}")


def archive_agent(name: str) -> None:
    with connected() as studio:
        studio.archive_agent(name)
    results().print(f"archived {name}; `studio agents --archived` lists it")


def diff_agent(name: str, old: int, new: int, *, as_json: bool) -> None:
    with connected() as studio:
        found = studio.diff_agent(name, old, new)
    if as_json:
        write_json(found)
    elif found.changes or found.instructions is not None:
        results().print(diff_view(found))
    else:
        notices().print(Text(f"versions {old} and {new} of {name} say the same"))
