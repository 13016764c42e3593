"""What the API answers about agents."""

from datetime import datetime
from typing import Self

from pydantic import Field, JsonValue

from services.gateway.agents.definition import ApprovalRule
from services.gateway.agents.version import AgentVersion
from services.gateway.requests import LimitsInput, ParametersInput
from services.gateway.views import View


class AgentSummary(View):
    """A version of an agent, without what may be long."""

    name: str
    version: int
    newest_version: int
    description: str
    model: str | None = Field(description="Null: the gateway's default.")
    tools: tuple[str, ...] | None = Field(
        description="Null: all that there are; the built-in agent has calculator, file_io and http_fetch, "
        "others when a run names them."
    )
    handoffs: tuple[str, ...]
    agents: tuple[str, ...]
    created_at: datetime = Field(description="When this version was made.")
    created_by: str
    archived_at: datetime | None = Field(description="Since when no run may name the agent.")
    is_built_in: bool = Field(description="It is always there and cannot be changed.")

    @classmethod
    def of(cls, agent: AgentVersion) -> Self:
        known = {**vars(agent), **dict(agent.definition), "newest_version": agent.newest}
        return cls(**{name: known[name] for name in cls.model_fields})


class AgentView(AgentSummary):
    """A version of an agent; it never changes."""

    instructions: str
    parameters: ParametersInput
    response_format: dict[str, JsonValue] | None
    limits: LimitsInput
    approval_rules: tuple[ApprovalRule, ...]


class AgentList(View):
    items: tuple[AgentSummary, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class Change(View):
    """A field that differs, as a dotted path."""

    field: str
    before: JsonValue
    after: JsonValue


class AgentDiff(View):
    """What differs between two versions; what is not named is the same."""

    name: str
    from_version: int
    to_version: int
    changes: tuple[Change, ...] = Field(description="All fields that differ but the instructions.")
    instructions: str | None = Field(description="A unified diff; null when they are the same.")
