"""The files that the tools of a run made: listed, and saved into a folder."""

import re
from pathlib import Path
from typing import Final

from rich.text import Text

from studio.client.errors import StudioError
from studio.client.models import Artifact
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.lists import print_list
from studio.commands.reference import in_words, run_id_of
from studio.terminal.amounts import size
from studio.terminal.grid import table
from studio.terminal.output import results
from studio.terminal.text import one_line, plain

# As the server takes it. What a step says may be anything, also a way out of the folder.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def list_artifacts(typed: str, *, as_json: bool) -> None:
    with connected() as studio:
        _, found = _artifacts(studio, typed)
    rows = ((file.name, file.media_type, size(file.size)) for file in found)
    shown = table(("file", "type", "size"), rows, right=("size",))
    print_list(found, shown, "no tool of the run made a file", as_json=as_json)


def save_artifacts(typed: str, folder: Path, *, overwrite: bool) -> None:
    """All of them into the folder, which is made if it is not there."""
    with connected() as studio:
        run_id, found = _artifacts(studio, typed)
        if not found:
            raise StudioError(f"no tool of run {run_id} made a file")
        targets = [folder / _checked(file) for file in found]
        if not overwrite and (taken := next(filter(Path.exists, targets), None)):
            raise StudioError(f"{taken} is there already; `--overwrite` replaces what is there")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudioError(f"{folder} cannot be made: {error.strerror}") from error
        for file, target in zip(found, targets, strict=True):
            studio.save_artifact(run_id, file.name, target, overwrite=overwrite)
            results().print(Text(plain(f"saved {target}, {size(file.size)}")))


def _checked(file: Artifact) -> str:
    """Its name. Raises StudioError for what would lead out of the folder."""
    if not NAME.fullmatch(file.name):
        raise StudioError(f"{one_line(file.name, 60)!r} is no name for a file")
    return file.name


def _artifacts(studio: Studio, typed: str) -> tuple[str, tuple[Artifact, ...]]:
    run_id = run_id_of(studio, typed)
    with in_words(run_id):
        return run_id, studio.get(run_id).artifacts
