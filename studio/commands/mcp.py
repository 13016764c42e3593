"""`studio mcp` and what stands behind it: the arguments. What is done is in `equipping.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from typing import Annotated

import typer

from studio.commands.group import Json, noun

app = typer.Typer()
mcp = noun(app, "mcp", "List the MCP servers, or show, add, switch and remove them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The server.")]


@mcp.command("list")
def list_servers(as_json: Json = False) -> None:
    """List the MCP servers, as `studio mcp` alone does."""
    from studio.commands import equipping

    equipping.list_servers(as_json=as_json)


@mcp.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show a server with its tools and what was wrong when it was last asked for them."""
    from studio.commands import equipping

    equipping.show_server(name, as_json=as_json)


@mcp.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its tools will be called NAME__tool.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it speaks MCP over streamable HTTP.")],
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="Sent with each request; {secret:NAME} stands for a secret of the runners. Once for each.",
        ),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Offer this tool of its; once for each. All without it."),
    ] = None,
) -> None:
    """Add a server; its tools stand among the others once a runner has asked for them."""
    from studio.commands import equipping

    equipping.add_server(name, url, header or [], tool)


@mcp.command()
def on(name: Name) -> None:
    """Offer a server's tools."""
    from studio.commands import equipping

    equipping.switch_server(name, on=True)


@mcp.command()
def off(name: Name) -> None:
    """Offer none of a server's tools."""
    from studio.commands import equipping

    equipping.switch_server(name, on=False)


@mcp.command()
def remove(name: Name) -> None:
    """Take a server away, with its tools."""
    from studio.commands import equipping

    equipping.remove_server(name)
