"""What the runners of a deployment announce on the stream CATALOG: their tools and their models.

The messages only. The runner publishes them, the gateway checks requests against the last of each.
"""

from pydantic import AwareDatetime, JsonValue

from shared.steps import Effect, Fact, ToolSpec


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

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            effect=self.effect,
            needs_approval=self.needs_approval,
            timeout_s=self.timeout_s,
        )


class Tools(Fact):
    tools: tuple[Tool, ...]
    at: AwareDatetime | None = None


class Models(Fact):
    """The models of the provider that the runners call; `provider` is a name for people."""

    provider: str
    models: tuple[str, ...]
    at: AwareDatetime | None = None
