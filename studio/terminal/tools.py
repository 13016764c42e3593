"""Tools and MCP servers on the terminal."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from studio.client.tool_models import McpServer, Tool
from studio.terminal.amounts import age, counted
from studio.terminal.grid import facts, switch, table
from studio.terminal.text import one_line, plain


def tools_table(tools: Sequence[Tool]) -> Table:
    titles = ("tool", "", "from", "effect", "approval", "description")
    rows = (
        (tool.name, switch(tool.enabled), _source(tool), tool.effect, _approval(tool), tool.description)
        for tool in tools
    )
    return table(titles, rows, wide=("description",))


def tool_view(tool: Tool) -> Group:
    """All that it says, with the arguments that it takes."""
    said = [
        ("from", _source(tool)),
        ("effect", tool.effect),
        ("approval", _approval(tool)),
        ("at most", f"{tool.timeout_s:g} s a call" if tool.timeout_s is not None else ""),
        *_request(tool),
    ]
    heading = Text.assemble((plain(tool.name), "bold"), "  ", switch(tool.enabled))
    arguments = [Text(), Text("arguments", "dim"), *_arguments(tool)] if tool.parameters else []
    return Group(heading, facts(said), Text(), Text(plain(tool.description)), *arguments)


def servers_table(servers: Sequence[McpServer], now: datetime) -> Table:
    titles = ("server", "", "tools", "asked", "at", "error")
    rows = (
        (
            server.name,
            switch(server.enabled),
            str(len(server.tools)),
            age(server.asked_at, now),
            _place(server),
            Text(one_line(server.error or "", 200), "red"),
        )
        for server in servers
    )
    return table(titles, rows, wide=("at", "error"), right=("tools",))


def server_view(server: McpServer, now: datetime) -> Group:
    """Where it is, and what it was last seen to have."""
    said: list[tuple[str, str | Text]] = [
        ("at", _place(server)),
        ("headers", "\n".join(f"{name}: {value}" for name, value in server.headers.items())),
        ("only", ", ".join(server.allowed_tools or ())),
        ("asked", age(server.asked_at, now) if server.asked_at else "not yet"),
        ("error", Text(plain(server.error or ""), "red")),
        ("tools", "\n".join(server.tools)),
    ]
    return Group(Text.assemble((plain(server.name), "bold"), "  ", switch(server.enabled)), facts(said))


def _source(tool: Tool) -> str:
    return f"{tool.source} {tool.server}" if tool.server else tool.source


def _approval(tool: Tool) -> str:
    return "asks" if tool.needs_approval else ""


def _place(server: McpServer) -> str:
    return server.url or "beside the runners"


def _request(tool: Tool) -> Iterator[tuple[str, str]]:
    if tool.request is not None:
        yield "request", f"{tool.request.method} {tool.request.url}"
        yield "headers", "\n".join(f"{name}: {value}" for name, value in tool.request.headers.items())
        yield "query", "&".join(f"{name}={value}" for name, value in tool.request.query.items())
        if tool.request.body is not None:
            yield "body", json.dumps(tool.request.body, ensure_ascii=False)


def _arguments(tool: Tool) -> Iterator[Text]:
    """A line for each property, else the schema as it is."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required")
    if not isinstance(properties, dict):
        yield Text(plain(json.dumps(tool.parameters, ensure_ascii=False)))
        return
    always = required if isinstance(required, list) else []
    for name, schema in properties.items():
        said = schema if isinstance(schema, dict) else {}
        mark = "" if name in always else " (may be left out)"
        kind, words = str(said.get("type", "any")), str(said.get("description", ""))
        yield Text.assemble(f"  {plain(name)}", (f"  {plain(kind)}{mark}  ", "dim"), one_line(words, 200))
    if not properties:
        yield Text(f"  {counted(0, 'argument')}", "dim")
