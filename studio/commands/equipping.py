"""What runs may use: tools and MCP servers, looked at and changed from the command line."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from studio.client.errors import StudioError
from studio.client.options import ToolChanges
from studio.client.tool_models import McpServer, Tool
from studio.commands.connection import connected
from studio.commands.definition import read_definition, write_definition
from studio.commands.lists import print_list
from studio.commands.reference import known
from studio.terminal.output import results, write_json
from studio.terminal.text import plain
from studio.terminal.tools import server_view, servers_table, tool_view, tools_table

AS_IT_IS: Final[ToolChanges] = {
    "enabled": None,
    "description": None,
    "needs_approval": None,
    "timeout_s": None,
}


def list_tools(*, as_json: bool) -> None:
    with connected() as studio:
        found = studio.tools()
    print_list(found, tools_table(found), "there are no tools", as_json=as_json)


def show_tool(name: str, *, only_definition: bool, as_json: bool) -> None:
    with connected() as studio:
        with known("tool", name, "tools"):
            tool = studio.tool(name)
        definition = tool.definition or {}
        if only_definition and not definition:
            raise StudioError(f"{name} was not added by a definition: {_origin(tool)}")
    if only_definition:
        write_definition(definition)
    elif as_json:
        write_json(tool)
    else:
        results().print(tool_view(tool))


def change_tool(name: str, changes: ToolChanges, done: str) -> None:
    with connected() as studio, known("tool", name, "tools"):
        studio.update_tool(name, **changes)
    _say(f"{name} {done}; this counts for runs that start from now on")


def add_tool(file: Path) -> None:
    with connected() as studio:
        tool = studio.create_tool(read_definition(file))
    _say(f"added {tool.name}; runs may use it")


def remove_tool(name: str) -> None:
    with connected() as studio, known("tool", name, "tools"):
        tool = studio.tool(name)
        if tool.request is None:
            raise StudioError(f"{name} cannot be removed: {_origin(tool)}; `studio tools off {name}` works")
        studio.delete_tool(name)
    _say(f"removed {name}")


def list_servers(*, as_json: bool) -> None:
    with connected() as studio:
        found = studio.mcp_servers()
    nobody = "there are no MCP servers; `studio mcp add NAME URL` adds one"
    print_list(found, servers_table(found, datetime.now(UTC)), nobody, as_json=as_json)


def show_server(name: str, *, as_json: bool) -> None:
    with connected() as studio, known("MCP server", name, "mcp"):
        server = studio.mcp_server(name)
    if as_json:
        write_json(server)
    else:
        results().print(server_view(server, datetime.now(UTC)))


def add_server(name: str, url: str, headers: Sequence[str], tools: Sequence[str] | None) -> None:
    given = dict(_header(text) for text in headers)
    with connected() as studio:
        studio.create_mcp_server(name, url, headers=given, allowed_tools=tools)
    _say(f"added {name}; `studio mcp show {name}` shows its tools, once a runner has asked it")


def switch_server(name: str, *, on: bool) -> None:
    with connected() as studio, known("MCP server", name, "mcp"):
        _own(studio.mcp_server(name))
        studio.update_mcp_server(name, enabled=on)
    _say(f"{name} is {'on' if on else 'off'}")


def remove_server(name: str) -> None:
    with connected() as studio, known("MCP server", name, "mcp"):
        _own(studio.mcp_server(name))
        studio.delete_mcp_server(name)
    _say(f"removed {name}")


def _own(server: McpServer) -> None:
    """Raises StudioError for a server that the project cannot change."""
    if server.url is None:
        raise StudioError(f"{server.name} belongs to the runners, whose setting MCP_STDIO names it")


def _origin(tool: Tool) -> str:
    return f"it is a tool of the MCP server {tool.server}" if tool.server else "it comes with the runners"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        # Not quoted: it may be a credential.
        raise typer.BadParameter("write it as 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def _say(text: str) -> None:
    results().print(Text(plain(text)))
