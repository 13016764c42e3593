"""What the server answers about tools and MCP servers."""

from datetime import datetime

from pydantic import Field, JsonValue

from shared.http_request import HttpRequest
from shared.steps import Effect
from studio.client.models import Answer


class Tool(Answer):
    """A tool as the project has it; `parameters` is the JSON schema of its arguments.

    `source` is installed, http or mcp: then `request` is what it sends, or `server` the MCP server that has
    it. Runs may use it while it is `enabled`.
    """

    name: str
    display_name: str = ""
    description: str = ""
    icon: str = ""
    source: str = "installed"
    enabled: bool = True
    effect: Effect = Effect.IRREVERSIBLE
    needs_approval: bool = False
    timeout_s: float | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    server: str | None = None
    request: HttpRequest | None = None

    @property
    def definition(self) -> dict[str, JsonValue] | None:
        """What `create_tool` takes; None for a tool that is no HTTP request."""
        if self.request is None:
            return None
        said = {"name", "description", "parameters", "effect", "needs_approval", "timeout_s"}
        request = self.request.model_dump(mode="json", exclude_none=True)
        return {**self.model_dump(mode="json", include=said), **request}


class McpServer(Answer):
    """An MCP server and what the runners last saw of it. One without `url` belongs to the runners.

    `tools` are those that runs may name; `error` is what was wrong when it was last asked for them.
    """

    name: str
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    enabled: bool = True
    allowed_tools: tuple[str, ...] | None = None
    tools: tuple[str, ...] = ()
    error: str | None = None
    asked_at: datetime | None = None
