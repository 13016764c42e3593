"""Tools and MCP servers as the API shows them. Pure."""

from collections.abc import Iterator

from services.gateway.offers import Offered
from services.gateway.tools.models import McpServerView, ToolView
from shared.catalog import McpListing, McpListings, McpServer, ProjectTools
from shared.http_request import HttpRequest


def tool_view(offered: Offered) -> ToolView:
    tool = offered.tool
    server = tool.settings.get("server") if tool.source == "mcp" else None
    return ToolView(
        **tool.model_dump(exclude={"settings"}),
        enabled=offered.enabled,
        server=str(server) if server is not None else None,
        request=HttpRequest.model_validate(tool.settings) if tool.source == "http" else None,
    )


def server_views(project: ProjectTools, seen: McpListings, local: McpListings) -> Iterator[McpServerView]:
    """The project's servers, then those of the runners."""
    by_name = {listing.server: listing for listing in seen.listings}
    current = seen.revision == project.mcp_revision
    for server in project.mcp:
        listing = by_name.get(server.name) if current and server.enabled else None
        yield _view(server, listing, seen if listing is not None else None)
    for listing in local.listings:
        yield _view(McpServer(name=listing.server, url=""), listing, local)


def _view(server: McpServer, listing: McpListing | None, seen: McpListings | None) -> McpServerView:
    tools = listing.tools if listing is not None else ()
    allowed = server.allowed_tools
    return McpServerView(
        **server.model_dump(exclude={"url"}),
        url=server.url or None,
        tools=tuple(each.name for each in tools if allowed is None or each.settings.get("tool") in allowed),
        error=listing.error if listing is not None else None,
        asked_at=seen.at if seen is not None else None,
    )
