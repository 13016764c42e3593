"""What clients send and get about tools and MCP servers."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from services.gateway.requests import Input, JsonSchema, Metadata, Words
from services.gateway.views import View
from shared.http_request import HttpRequest
from shared.steps import Effect

TOOL_NAME: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
SERVER_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,30}$"
RESERVED: Final = ("handoff_to_", "ask_")
KIB: Final = 1024


def _free(name: str) -> str:
    if "__" in name or name.startswith(RESERVED):
        raise ValueError(f"must not hold __ nor begin with {' or '.join(RESERVED)}: those are made elsewhere")
    return name


def _no_arguments() -> dict[str, JsonValue]:
    return {"type": "object", "properties": {}}


Description = Annotated[Words, Field(max_length=4000, description="What the model is told that it does.")]
TimeoutS = Annotated[float, Field(gt=0, le=300, description="Most seconds of one call.")]
Headers = Annotated[
    dict[str, str],
    Field(max_length=30, description="Fixed; `{secret:NAME}` stands for a secret of the runners."),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class HttpToolInput(Input):
    """A tool that is an HTTP request. Arguments that no template names go into the query (GET, DELETE) or the
    JSON body."""

    kind: Literal["http"]
    name: Annotated[str, StringConstraints(pattern=TOOL_NAME), AfterValidator(_free)]
    description: Description
    parameters: JsonSchema = Field(
        default_factory=_no_arguments,
        description="JSON schema (draft 2020-12) of its arguments, an object's.",
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Url = Field(description="`{name}` in path or query stands for that argument, percent-encoded.")
    headers: Headers = Field(default_factory=dict)
    query: dict[str, str] = Field(
        default_factory=dict, max_length=50, description="More of the query; `{name}` stands for an argument."
    )
    body: Metadata | None = Field(
        default=None, description="JSON body; a text that is only `{name}` becomes the argument's value."
    )
    effect: Effect = Field(
        default=Effect.IRREVERSIBLE,
        description="What may happen to its call after a crash: pure and idempotent calls are repeated.",
    )
    needs_approval: bool = False
    timeout_s: TimeoutS = 30.0
    max_response_bytes: int = Field(
        default=64 * KIB,
        ge=1,
        le=1024 * KIB,
        description="Of a longer answer the rest is cut, and that is told.",
    )


class ToolChange(Input):
    """What the project says of a tool. What is left out stays; null: as the tool itself has it."""

    enabled: bool | None = None
    description: Description | None = None
    needs_approval: bool | None = None
    timeout_s: TimeoutS | None = None

    @property
    def values(self) -> dict[str, Any]:
        """As an override has them; a tool of which nothing is said is switched on."""
        given = self.model_dump(exclude_unset=True)
        return given | ({"enabled": True} if given.get("enabled", True) is None else {})


class ToolView(View):
    """A tool as the project has it."""

    name: str
    display_name: str
    description: str
    icon: str
    source: Literal["installed", "http", "mcp"]
    enabled: bool = Field(description="Whether runs may use it.")
    effect: Effect
    needs_approval: bool
    timeout_s: float
    parameters: dict[str, JsonValue] = Field(description="JSON schema of its arguments.")
    server: str | None = Field(description="The MCP server that has it.")
    request: HttpRequest | None = Field(description="What an HTTP tool sends; secrets by name only.")


class ToolList(View):
    items: tuple[ToolView, ...]


AllowedTools = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...],
    Field(max_length=128, fail_fast=True, description="By the names that the server gives them; null: all."),
]


class McpServerInput(Input):
    """A server of tools, spoken to by MCP over streamable HTTP."""

    name: Annotated[str, StringConstraints(pattern=SERVER_NAME)] = Field(
        description="Its tools are called `name__tool`."
    )
    url: Url
    headers: Headers = Field(default_factory=dict)
    enabled: bool = True
    allowed_tools: AllowedTools | None = None


class McpServerChange(Input):
    """What is to change; what is left out stays, and so does what is null, but for `allowed_tools`."""

    url: Url | None = None
    headers: Headers | None = None
    enabled: bool | None = None
    allowed_tools: AllowedTools | None = None

    @property
    def changes(self) -> dict[str, Any]:
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name == "allowed_tools"}


class McpServerView(View):
    """An MCP server and what the runners last saw of it."""

    name: str
    url: str | None = Field(description="Null: it belongs to the runners and is there for every project.")
    headers: dict[str, str]
    enabled: bool
    allowed_tools: tuple[str, ...] | None
    tools: tuple[str, ...] = Field(description="The tools that runs may name.")
    error: str | None = Field(description="What was wrong when it was last asked for its tools.")
    asked_at: datetime | None = Field(description="Null until a runner has asked it, as it is now.")


class McpServerList(View):
    items: tuple[McpServerView, ...]
