"""Tools and MCP servers as the API's description shows them."""

import json
from typing import Any, Final

from services.gateway.offers import Offered
from services.gateway.problems import Problem, invalid
from services.gateway.tools.book import exists, no_such_server, no_such_tool
from services.gateway.tools.models import HttpToolInput, McpServerInput
from services.gateway.tools.views import server_views, tool_view
from shared.catalog import HttpTool, McpListing, McpListings, McpServer, ProjectTools, Tool
from shared.http_request import HttpRequest
from shared.steps import Effect

SHORTEST_TOOL: Final[dict[str, Any]] = {
    "kind": "http",
    "name": "ping",
    "description": "Says whether the shop is open.",
    "url": "https://api.example.com/open",
}
TOOL: Final[dict[str, Any]] = {
    "kind": "http",
    "name": "order_status",
    "description": "Tells the status of an order by its number.",
    "parameters": {
        "type": "object",
        "properties": {
            "order": {"type": "integer", "description": "Number of the order."},
            "lines": {"type": "boolean", "description": "Whether to list its lines."},
        },
        "required": ["order"],
        "additionalProperties": False,
    },
    "url": "https://api.example.com/orders/{order}",
    "headers": {"Accept-Language": "en"},
    "effect": "pure",
    "timeout_s": 10.0,
}
_MADE: Final = HttpToolInput.model_validate_json(json.dumps(TOOL))
HTTP_TOOL: Final = HttpTool(
    request=HttpRequest.model_validate(_MADE.model_dump()), **_MADE.model_dump(exclude={"kind"})
)
CHANGE: Final[dict[str, Any]] = {"enabled": False, "needs_approval": True}
SERVER: Final[dict[str, Any]] = {"name": "docs", "url": "https://mcp.example.com/mcp"}
SERVER_CHANGE: Final[dict[str, Any]] = {"allowed_tools": ["search"]}
_SEARCH: Final = Tool(
    name="docs__search",
    display_name="Search",
    description="Searches the documents.",
    effect=Effect.PURE,
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    source="mcp",
    settings={"server": "docs", "tool": "search"},
)
_PROJECT: Final = ProjectTools(
    mcp=(McpServer.model_validate(McpServerInput.model_validate(SERVER).model_dump()),)
)
SEEN: Final = McpListings(
    revision=_PROJECT.mcp_revision,
    listings=(McpListing(server="docs", tools=(_SEARCH,)),),
    at="2026-11-20T08:30:00Z",
)
_NONE: Final = McpListings(revision="", listings=())
NEW_SERVER: Final = next(server_views(_PROJECT, _NONE, _NONE))
SEEN_SERVER: Final = next(server_views(_PROJECT, SEEN, _NONE))
OWN_TOOL: Final = tool_view(Offered(HTTP_TOOL.tool))
PROBLEMS: Final[dict[str, Problem]] = {
    "no-such-tool": no_such_tool("shell"),
    "tool-exists": exists("calculator"),
    "installed-tool": invalid("name", "only HTTP tools can be deleted; switch this one off with PATCH"),
    "no-such-server": no_such_server("wiki"),
    "server-exists": exists("docs"),
    "private-tool": invalid(
        "url", "'127.0.0.1' is not a public server; tools may only be at public addresses"
    ),
    "fixed-host": invalid("url", "the host is fixed: placeholders may only stand in path and query"),
    "unknown-secret": invalid("headers", "unknown secret 'SHOP_KEY'; the runners know none"),
}


def switched(tool: Tool) -> Any:
    """The tool after the change of the example."""
    return tool_view(Offered(tool.model_copy(update={"needs_approval": True}), enabled=False))
