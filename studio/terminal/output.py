"""Where output goes: results to stdout, everything else to stderr; plain where no person looks.

Neither console reads markup or emoji codes: a bracket in a prompt is a bracket.
"""

import io
import re
import sys
from typing import IO, TYPE_CHECKING, Final, TextIO, cast

from rich.console import Console

from studio.terminal.text import json_line

if TYPE_CHECKING:
    from pydantic import BaseModel

# Whoever reads a pipe breaks the lines; rich would break them at 80 characters.
PIPE_WIDTH: Final = 4000
SHORT_ID: Final = 8
FILLING: Final = re.compile(r" +(?=\n)")


def results() -> Console:
    """Standard output as it is now."""
    return _console(sys.stdout)


def notices() -> Console:
    """Standard error as it is now."""
    return _console(sys.stderr)


def write_line(text: str) -> None:
    """A line for programs: exactly this text, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(answer: "BaseModel") -> None:
    """An answer of the server for programs, on one line."""
    write_line(json_line(answer.model_dump_json()))


def shown_id(identifier: str) -> str:
    """The end of an id, by which a person may name it; all of it for programs. Ids begin alike."""
    return identifier[-SHORT_ID:] if sys.stdout.isatty() else identifier


class _Pipe(io.TextIOBase):
    """A stream without the spaces with which a table fills its lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(FILLING.sub("", text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def _console(stream: TextIO) -> Console:
    if stream.isatty():
        return Console(file=stream, markup=False, emoji=False, highlight=False)
    pipe = cast(IO[str], _Pipe(stream))
    return Console(file=pipe, markup=False, emoji=False, highlight=False, width=PIPE_WIDTH)
