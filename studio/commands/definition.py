"""What is defined by a JSON file: an agent, a tool, a schedule."""

import json
import sys
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from studio.client.errors import StudioError
from studio.terminal.output import write_line
from studio.terminal.text import json_line

MOST_INPUT: Final = 1024 * 1024


class NoDefinition(StudioError):
    """The file does not hold what it should."""


def read_definition(file: Path) -> dict[str, JsonValue]:
    """The object of a file, or of standard input for `-`. Raises NoDefinition."""
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


def write_definition(definition: dict[str, JsonValue]) -> None:
    """As JSON to be edited and read again."""
    write_line(json_line(json.dumps(definition, indent=2, ensure_ascii=False)))
