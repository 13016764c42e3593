"""`studio tools` and what stands behind it: the arguments. What is done is in `equipping.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from typing import Annotated

import typer

from studio.commands.group import File, Json, noun

app = typer.Typer()
tools = noun(app, "tools", "List the tools, or show, switch, describe, add and remove them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tool.")]


@tools.command("list")
def list_tools(as_json: Json = False) -> None:
    """List the tools, as `studio tools` alone does."""
    from studio.commands import equipping

    equipping.list_tools(as_json=as_json)


@tools.command()
def show(
    name: Name,
    definition: Annotated[
        bool, typer.Option("--definition", help="Only what `add` takes, as JSON to be edited.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a tool with its arguments."""
    from studio.commands import equipping

    equipping.show_tool(name, only_definition=definition, as_json=as_json)


@tools.command()
def on(name: Name) -> None:
    """Let runs use a tool."""
    from studio.commands import equipping

    equipping.change_tool(name, {"enabled": True}, "is on")


@tools.command()
def off(name: Name) -> None:
    """Let no run use a tool any more; those that have begun keep it."""
    from studio.commands import equipping

    equipping.change_tool(name, {"enabled": False}, "is off")


@tools.command()
def describe(
    name: Name, text: Annotated[str, typer.Argument(metavar="TEXT", help="What the model is told of it.")]
) -> None:
    """Tell the models something else of a tool than it says itself."""
    from studio.commands import equipping

    equipping.change_tool(name, {"description": text}, "is described anew")


@tools.command()
def approval(
    name: Name,
    asks: Annotated[
        bool, typer.Option("--ask/--do-not-ask", help="Whether a person must allow each call.")
    ] = True,
) -> None:
    """Let each call of a tool wait for a person, or no longer."""
    from studio.commands import equipping

    says = "asks before each call" if asks else "does not ask before a call"
    equipping.change_tool(name, {"needs_approval": asks}, says)


@tools.command()
def reset(name: Name) -> None:
    """Take back all that was said of a tool here: it is on, and as it says itself."""
    from studio.commands import equipping

    equipping.change_tool(name, equipping.AS_IT_IS, "is as it says itself")


@tools.command()
def add(file: File) -> None:
    """Add a tool that is an HTTP request.

    For instance, where the city travels in the query:
    {"name": "weather", "description": "Tells the weather of a city.",
    "url": "https://api.example.com/weather", "effect": "pure", "parameters":
    {"type": "object", "properties": {"city": {"type": "string"}}}}
    """
    from studio.commands import equipping

    equipping.add_tool(file)


@tools.command()
def remove(name: Name) -> None:
    """Take away an HTTP tool that was added."""
    from studio.commands import equipping

    equipping.remove_tool(name)
