"""Keeping agents from the command line: listing and showing them, and changing them by files."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from rich.text import Text

from studio.client.errors import StudioError
from studio.commands.connection import connected
from studio.terminal.agents import agent_view, agents_table, diff_view
from studio.terminal.output import notices, results, write_line
from studio.terminal.text import json_line

MOST_INPUT: Final = 1024 * 1024


class NoDefinition(StudioError):
    """The file holds no agent."""


def list_agents(*, archived: bool, as_json: bool) -> None:
    """A table, or one line of JSON for each."""
    with connected() as studio:
        found = list(studio.agents(archived=archived))
    if as_json:
        for agent in found:
            write_line(json_line(agent.model_dump_json()))
    elif found:
        results().print(agents_table(found, datetime.now(UTC)))
    else:
        notices().print("no agent is archived")


def show_agent(name: str, version: int | None, *, only_definition: bool, as_json: bool) -> None:
    with connected() as studio:
        agent = studio.agent(name, version)
    if only_definition:
        write_line(json_line(json.dumps(agent.definition, indent=2, ensure_ascii=False)))
    elif as_json:
        write_line(json_line(agent.model_dump_json()))
    else:
        results().print(agent_view(agent))


def create_agent(file: Path) -> None:
    with connected() as studio:
        agent = studio.create_agent(_definition(file))
    results().print(f'created {agent.name}; `studio run --agent {agent.name} "…"` runs it')


def update_agent(file: Path, expected: int | None) -> None:
    with connected() as studio:
        definition = _definition(file)
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
        write_line(json_line(found.model_dump_json()))
    elif found.changes or found.instructions is not None:
        results().print(diff_view(found))
    else:
        notices().print(Text(f"versions {old} and {new} of {name} say the same"))


def _definition(file: Path) -> dict[str, JsonValue]:
    """Raises NoDefinition."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            data = stream.read(MOST_INPUT + 1)
        found = json.loads(data) if len(data) <= MOST_INPUT else None
    except OSError as error:
        raise NoDefinition(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise NoDefinition(f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise NoDefinition(f"{file} must hold one JSON object of at most {MOST_INPUT} bytes")
    return found
