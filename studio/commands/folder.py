"""The option that names a stack's data folder, for the commands that work with one."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[
    Path,
    typer.Option("--folder", envvar="STUDIO_FOLDER", metavar="DIR", help="The data folder of the stack."),
]
DEFAULT = Path(".studio")
