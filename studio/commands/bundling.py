"""Runs into files, and out of files into the server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from studio.client.errors import StudioError
from studio.commands.connection import connected
from studio.commands.reference import in_words, run_id_of
from studio.terminal.amounts import size
from studio.terminal.output import notices, results, write_json
from studio.terminal.text import plain

MOST_BYTES: Final = 64 * 1024 * 1024
"""No server takes more."""


class NoBundle(StudioError):
    """The file cannot be read."""


def save_bundle(typed: str, target: Path | None, redact: Sequence[str], *, overwrite: bool) -> None:
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        file = target or Path(f"run-{run_id}.studio")
        with in_words(run_id):
            studio.save_bundle(run_id, file, redact=redact, overwrite=overwrite)
    results().print(
        Text(plain(f"saved {file}, {size(file.stat().st_size)}; `studio replay {file}` replays it anywhere"))
    )


def import_bundle(file: Path, *, as_json: bool) -> None:
    with connected() as studio:
        imported = studio.import_bundle(file_content(file))
    if as_json:
        write_json(imported)
        return
    short = imported.run_id[-8:]
    results().print(
        Text(f"run {imported.run_id} is {plain(imported.status)}; `studio show {short}` shows it")
    )
    whose = (
        "a signer that this server knows" if imported.trusted else "a signer that this server does not know"
    )
    results().print(
        Text(f"signed by {plain(imported.signer)}, {whose}", "" if imported.trusted else "yellow")
    )
    if imported.scrubbed_steps:
        told = f"{imported.scrubbed_steps} steps hold what this server redacts; it is not in its log"
        notices().print(Text(told, "yellow"))


def file_content(file: Path) -> bytes:
    """Raises NoBundle, also for more than any bundle has."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise NoBundle(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise NoBundle(f"{file} has more than the {size(MOST_BYTES)} that a bundle may have")
    return data
