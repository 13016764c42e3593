"""The client of a command, and what a command says when the server says no."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.text import Text

from studio.client.errors import ApiError, StudioError, Unauthorized, Unreachable
from studio.client.retries import RetryPolicy
from studio.client.sync import Studio
from studio.terminal.output import notices
from studio.terminal.text import plain

FAILED = 1
# A person waits: a server that is away for longer is reported.
PATIENCE = RetryPolicy(tries=4, shortest_s=0.2, longest_s=10.0)


@contextmanager
def connected(trouble: int = FAILED) -> Iterator[Studio]:
    """A client of the server that is found. Errors are told on standard error and end the command with the
    exit code `trouble`."""
    origin = key_origin = ""
    try:
        with Studio(retry=PATIENCE) as studio:
            origin, key_origin = studio.address.origin, studio.address.key_origin
            yield studio
    except StudioError as error:
        tell(error, key_origin if isinstance(error, Unauthorized) else origin)
        raise typer.Exit(trouble) from error


def tell(error: StudioError, origin: str = "") -> None:
    """What went wrong, where, and what to do. `origin`: where the address, or the refused key, came from."""
    console = notices()
    fields = error.fields if isinstance(error, ApiError) and len(error.fields) > 1 else ()
    says = error.problem.title if isinstance(error, ApiError) and fields else str(error)
    console.print(Text(plain(says), "red"))
    for field in fields:
        console.print(Text(f"  {plain(field.field)}: {plain(field.message)}"))
    if hint := _hint(error, origin):
        console.print(Text(plain(hint), "dim"))


def _hint(error: StudioError, origin: str) -> str:
    match error:
        case Unreachable():
            return f"The address is from {origin}. `studio status` says what runs, `studio up` starts it."
        case Unauthorized():
            return f"The key is from {origin}."
    return ""
