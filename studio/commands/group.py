"""A noun with commands of its own, such as `studio tools`, and the words that they have in common."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

Json = Annotated[bool, typer.Option("--json", help="JSON for programs, and nothing else on standard output.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A JSON object; `-` is standard input.")]


class ListsByDefault(TyperGroup):
    """Where no command is typed, `list` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_list = not args or (args[0].startswith("-") and args[0] != "--help")
        return super().parse_args(ctx, ["list", *args] if is_list else args)


def noun(app: typer.Typer, name: str, says: str) -> typer.Typer:
    """The group of that name in the app."""
    group = typer.Typer(cls=ListsByDefault, help=says)
    app.add_typer(group, name=name)
    return group
