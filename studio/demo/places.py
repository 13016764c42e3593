"""Where a person goes on after the demo."""

import shutil
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text


def places(url: str, key_file: str) -> Table:
    """Where to go on."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    studio = command()
    for label, value in (
        ("API docs", f"{url}/docs"),
        ("OpenAPI", f"{url}/openapi.json"),
        ("metrics", f"{url}/metrics"),
        ("API key", key_file),
        ("your own prompt", f'{studio} run "What is 2 to the power of 10?"'),
        ("all runs", f"{studio} runs"),
        ("one of them again", f"{studio} replay RUN --model NAME --samples 20"),
    ):
        grid.add_row(Text(label, "dim"), Text(value))
    return grid


def command() -> str:
    """How this installation's `studio` is called from here."""
    ours = Path(sys.executable).with_name("studio")
    found = shutil.which("studio")
    if not ours.exists() or (found and Path(found).resolve() == ours.resolve()):
        return "studio"
    here = Path.cwd()
    return str(ours.relative_to(here) if ours.is_relative_to(here) else ours)
