"""`studio bundle` and `import`: their arguments. What they do is in `bundling.py`; a bundle is replayed by
`studio replay FILE`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from studio.commands.group import Json
from studio.commands.runs import Reference

app = typer.Typer()


class Part(StrEnum):
    """What may be left out of a bundle."""

    METADATA = "metadata"
    USER = "user"
    SESSION = "session"
    PEOPLE = "people"
    REASONING = "reasoning"
    ARTIFACTS = "artifacts"


@app.command()
def bundle(
    run: Reference,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: run-ID.studio.", show_default=False),
    ] = None,
    redact: Annotated[
        list[Part] | None,
        typer.Option(
            metavar="PART", help=f"Leave this out: {', '.join(Part)}; see docs/bundles.md. Repeatable."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also in place of a file that is there.")
    ] = False,
) -> None:
    """Write a run that has ended into one signed file, which replays anywhere without a server."""
    from studio.commands import bundling

    bundling.save_bundle(run, output, tuple(redact or ()), overwrite=overwrite)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `studio bundle` has written.")],
    as_json: Json = False,
) -> None:
    """Take in the run of a file; nothing of a file that was tampered with."""
    from studio.commands import bundling

    bundling.import_bundle(file, as_json=as_json)
