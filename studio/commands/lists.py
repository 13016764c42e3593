"""How a command shows a list."""

from collections.abc import Sequence

from pydantic import BaseModel
from rich.table import Table

from studio.terminal.output import notices, results, write_json


def print_list(found: Sequence[BaseModel], table: Table, otherwise: str, *, as_json: bool) -> None:
    """The table, one line of JSON for each, or, for people, what an empty list means."""
    if as_json:
        for each in found:
            write_json(each)
    elif found:
        results().print(table)
    else:
        notices().print(otherwise)
