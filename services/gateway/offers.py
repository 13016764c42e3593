"""The tools of a project, made of what the runners announce and what the project says of them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.catalog import McpListings, ProjectTools, Tool, Tools


@dataclass(frozen=True)
class Offered:
    """A tool as the project has it; a run may use it when it is enabled."""

    tool: Tool
    enabled: bool = True


@dataclass(frozen=True)
class Sources:
    """All that a project's tools come from: `local` are MCP servers of the runners, `servers` its own."""

    announced: Tools
    project: ProjectTools
    local: McpListings
    servers: McpListings

    def offers(self) -> dict[str, Offered]:
        """By name; above the runners' tools stand those that the project made itself."""
        tools = [tool for listing in self.local.listings for tool in listing.tools]
        tools += [*self.announced.tools, *(each.tool for each in self.project.http), *self._of_servers()]
        return {tool.name: self._overridden(tool) for tool in tools}

    def error_of(self, server: str) -> str | None:
        """What is wrong with an MCP server, if that is known."""
        listings = (*self.local.listings, *self.servers.listings)
        return next((each.error for each in listings if each.server == server), None)

    def _of_servers(self) -> Iterator[Tool]:
        """Of the servers as the project has them now, the tools that it allows, with where they are."""
        listings = {listing.server: listing for listing in self.servers.listings}
        for server in self.project.asked_servers:
            where = {"url": server.url, "headers": server.headers}
            for tool in listings[server.name].tools if server.name in listings else ():
                if server.allowed_tools is None or tool.settings.get("tool") in server.allowed_tools:
                    yield tool.model_copy(update={"settings": {**tool.settings, **where}})

    def _overridden(self, tool: Tool) -> Offered:
        override = self.project.overrides.get(tool.name)
        if override is None:
            return Offered(tool)
        changes = override.model_dump(exclude={"enabled"}, exclude_none=True)
        return Offered(tool.model_copy(update=changes), override.enabled)
