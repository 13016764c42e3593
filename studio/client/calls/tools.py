"""The tools of a project, and the MCP servers whose tools stand among them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from pydantic import JsonValue

from studio.client.calls.call import Call, items_reader, nothing, once, path, reader
from studio.client.models import Page
from studio.client.options import McpServerChanges, ToolChanges, as_json
from studio.client.tool_models import McpServer, Tool


def tools() -> Call[tuple[Tool, ...]]:
    """The tools of the project, also those that are switched off."""
    return Call("GET", path("tools"), items_reader(Page[Tool]))


def tool(name: str) -> Call[Tool]:
    """A tool as the project has it."""
    return Call("GET", path("tools", name), reader(Tool))


def update_tool(name: str, **changes: Unpack[ToolChanges]) -> Call[Tool]:
    """What the project says of a tool, whatever its source; what is left out stays.

    Runs that have begun keep the tools that they began with.
    """
    return Call("PATCH", path("tools", name), reader(Tool), body=as_json(changes))


def create_tool(definition: Mapping[str, JsonValue], *, idempotency_key: str | None = None) -> Call[Tool]:
    """A tool that is an HTTP request, given as the fields of `POST /api/tools`. Raises Conflict when there
    is one of that name."""
    body, headers = {"kind": "http", **definition}, once(idempotency_key)
    return Call("POST", path("tools"), reader(Tool), body=body, headers=headers)


def delete_tool(name: str) -> Call[None]:
    """Take an HTTP tool away; others can only be switched off."""
    return Call("DELETE", path("tools", name), nothing, gone_is_done=True)


def mcp_servers() -> Call[tuple[McpServer, ...]]:
    """The MCP servers of the project and of the runners, with the tools that they were last seen to have."""
    return Call("GET", path("mcp-servers"), items_reader(Page[McpServer]))


def mcp_server(name: str) -> Call[McpServer]:
    """An MCP server and what the runners last saw of it."""
    return Call("GET", path("mcp-servers", name), reader(McpServer))


def create_mcp_server(
    name: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed_tools: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[McpServer]:
    """A server whose tools are called `name__tool`, as soon as a runner has asked it for them.

    In `headers`, `{secret:NAME}` stands for a secret of the runners; `allowed_tools`: only these of its.
    """
    body: dict[str, JsonValue] = {"name": name, "url": url, "headers": dict(headers or {})}
    if allowed_tools is not None:
        body["allowed_tools"] = list(allowed_tools)
    sent = once(idempotency_key)
    return Call("POST", path("mcp-servers"), reader(McpServer), body=body, headers=sent)


def update_mcp_server(name: str, **changes: Unpack[McpServerChanges]) -> Call[McpServer]:
    """Change an MCP server; what is left out stays."""
    return Call("PATCH", path("mcp-servers", name), reader(McpServer), body=as_json(changes))


def delete_mcp_server(name: str) -> Call[None]:
    """Take an MCP server away, with its tools."""
    return Call("DELETE", path("mcp-servers", name), nothing, gone_is_done=True)
