"""The messages of the stream CATALOG: what the runners can do, and what projects say of their tools.

The runner announces tools, models and the tools of MCP servers, and the gateway checks requests against the
last of each. The gateway publishes what a project has configured, for all gateways and for the runners.
"""

import hashlib
from typing import Final, Literal

from pydantic import AwareDatetime, Field, JsonValue

from shared.http_request import HttpRequest
from shared.steps import Effect, Fact, ToolSpec

LOCAL: Final = "_local"
"""Stands for the project in the announcement of a runner's own MCP servers, which every project may use."""


class Tool(Fact):
    """A tool; `parameters` is the JSON schema of its arguments."""

    name: str
    display_name: str
    description: str
    icon: str = ""
    effect: Effect = Effect.IRREVERSIBLE
    needs_approval: bool = False
    parameters: dict[str, JsonValue]
    timeout_s: float = 30.0
    source: Literal["installed", "http", "mcp"] = "installed"
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            effect=self.effect,
            needs_approval=self.needs_approval,
            timeout_s=self.timeout_s,
            source=self.source,
            settings=self.settings,
        )


class SecretName(Fact):
    """A secret that the runners know, where it may be sent, and by whose tools; None: anywhere, anybody's."""

    name: str
    hosts: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None

    def allows(self, project: str, host: str) -> bool:
        return (self.projects is None or project in self.projects) and (
            self.hosts is None or host.lower() in self.hosts
        )


class Tools(Fact):
    tools: tuple[Tool, ...]
    secrets: tuple[SecretName, ...] = ()
    at: AwareDatetime | None = None


class Models(Fact):
    """The models of the provider that the runners call; `provider` is a name for people."""

    provider: str
    models: tuple[str, ...]
    at: AwareDatetime | None = None


class HttpTool(Fact):
    """A tool of a project that is an HTTP request."""

    name: str
    description: str
    parameters: dict[str, JsonValue]
    request: HttpRequest
    effect: Effect = Effect.IRREVERSIBLE
    needs_approval: bool = False
    timeout_s: float = 30.0

    @property
    def tool(self) -> Tool:
        return Tool(
            **self.model_dump(exclude={"request"}),
            display_name=self.name,
            source="http",
            settings=self.request.model_dump(mode="json"),
        )


class McpServer(Fact):
    """A tool server of a project; `allowed_tools` are names as the server gives them, None stands for all."""

    name: str
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    enabled: bool = True
    allowed_tools: tuple[str, ...] | None = None


class ToolOverride(Fact):
    """What a project says of a tool, whatever its source; None: as the tool itself has it."""

    enabled: bool = True
    description: str | None = None
    needs_approval: bool | None = None
    timeout_s: float | None = None


class ProjectTools(Fact):
    """All that a project has configured."""

    overrides: dict[str, ToolOverride] = Field(default_factory=dict)
    http: tuple[HttpTool, ...] = ()
    mcp: tuple[McpServer, ...] = ()

    @property
    def asked_servers(self) -> tuple[McpServer, ...]:
        return tuple(each for each in self.mcp if each.enabled)

    @property
    def mcp_revision(self) -> str:
        """Changes with the servers that are to be asked for their tools, and with how they are asked."""
        asked = [(each.name, each.url, sorted(each.headers.items())) for each in self.asked_servers]
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


class McpListing(Fact):
    """The tools of one MCP server, named `server__tool`. `error`: it is down, and these are its tools of the
    last time that it answered, or some of its tools cannot be offered."""

    server: str
    tools: tuple[Tool, ...] = ()
    error: str | None = None


class McpListings(Fact):
    """What the MCP servers of a project have, as one runner saw it."""

    revision: str
    listings: tuple[McpListing, ...]
    at: AwareDatetime | None = None
