"""What an agent is: the form in which clients give it, and in which each of its versions is kept."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.requests import Input, JsonSchema, LimitsInput, Name, Names, ParametersInput
from shared.steps import Effect

NAME: Final = r"[a-z0-9][a-z0-9_-]{0,47}"  # the provider takes tool names of 64 characters: handoff_to_…
MOST_NAMED: Final = 16
EVERY_TOOL: Final = "*"


def _one_version_each(references: tuple[str, ...]) -> tuple[str, ...]:
    names = [reference.partition("@")[0] for reference in references]
    if len(set(names)) < len(names):
        raise ValueError("each agent may stand here once, whatever its version")
    return references


AgentName = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
AgentReferences = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=f"^{NAME}(@[1-9][0-9]{{0,8}})?$")], ...],
    Field(max_length=MOST_NAMED, fail_fast=True, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_one_version_each),
]


class ApprovalRule(Input):
    """Calls that wait for a person's decision, besides those of tools that always do."""

    tool: Name = Field(description="A tool's name, or `*` for every tool of the agent.")
    effect: Effect | None = Field(default=None, description="Only tools with this effect.")


class AgentDefinition(Input):
    """An agent. A run may say otherwise, and wins; but of the tools it can only leave some out."""

    description: str = Field(
        default="", max_length=2000, description="What it is good for; other agents' models read it."
    )
    model: Name | None = Field(default=None, description="Default: the gateway's setting MISTRAL_MODEL.")
    instructions: str = Field(default="", max_length=100_000, description="The system prompt.")
    parameters: ParametersInput = ParametersInput()
    tools: Names | None = Field(
        default=None, description="Names of the tools it may use. Default: all that there are."
    )
    handoffs: AgentReferences = Field(
        default=(), description="Agents that it may hand the conversation to: `name` or `name@version`."
    )
    agents: AgentReferences = Field(
        default=(), description="Agents that it may ask as if they were tools: `name` or `name@version`."
    )
    response_format: JsonSchema | None = Field(
        default=None, description="JSON schema (draft 2020-12) of its answers."
    )
    limits: LimitsInput = LimitsInput()
    approval_rules: tuple[ApprovalRule, ...] = Field(default=(), max_length=64, fail_fast=True)


class AgentInput(AgentDefinition):
    """An agent to be created."""

    name: AgentName = Field(description="What runs and other agents call it; it never changes.")

    @property
    def definition(self) -> AgentDefinition:
        return AgentDefinition.model_construct(**{name: getattr(self, name) for name in DEFINED})


DEFINED: Final = tuple(AgentDefinition.model_fields)
