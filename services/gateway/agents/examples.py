"""The examples of agents in the API's description: what is given, and what is answered to it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from services.gateway.agents import refusals
from services.gateway.agents.definition import AgentDefinition, ApprovalRule
from services.gateway.agents.difference import difference
from services.gateway.agents.version import AgentVersion
from services.gateway.agents.views import AgentList, AgentSummary, AgentView
from services.gateway.cursor import encode_cursor
from services.gateway.problems import Problem, invalid
from services.gateway.requests import LimitsInput, ParametersInput
from shared.steps import Effect

NAME: Final = "reviewer"
FIRST: Final = AgentVersion(
    id=UUID("019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"),
    name=NAME,
    version=1,
    newest=1,
    created_at=datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
    created_by="key laptop (k3v9x2)",
    definition=AgentDefinition(
        description="Checks sums and says what is wrong with them.",
        instructions="Check every sum.\nAnswer briefly.",
        parameters=ParametersInput(temperature=0.2),
        tools=("calculator",),
        handoffs=("assistant",),
        response_format={
            "type": "object",
            "properties": {"verdict": {"enum": ["right", "wrong"]}, "why": {"type": "string"}},
            "required": ["verdict"],
        },
        limits=LimitsInput(max_rounds=8),
        approval_rules=(ApprovalRule(tool="*", effect=Effect.IRREVERSIBLE),),
    ),
)
SECOND: Final = replace(
    FIRST,
    version=2,
    newest=2,
    definition=FIRST.definition.model_copy(
        update={
            "instructions": "Check every sum.\nAnswer in one sentence.",
            "parameters": ParametersInput(temperature=0),
        }
    ),
)
SHORTEST: Final = {"name": "helper"}
GIVEN: Final[dict[str, Any]] = FIRST.definition.model_dump(mode="json", exclude_unset=True)
CHANGED: Final[dict[str, Any]] = SECOND.definition.model_dump(mode="json", exclude_unset=True)
ANSWERS: Final = {
    "agent": ("The first version", AgentView.of(FIRST)),
    "changed-agent": ("The second version", AgentView.of(SECOND)),
    "agent-list": (
        "A page of one agent",
        AgentList(items=(AgentSummary.of(SECOND),), next_cursor=encode_cursor(str(SECOND.id))),
    ),
    "agent-diff": ("Two fields differ", difference(FIRST, SECOND)),
}
VERSIONS: Final = tuple(AgentSummary.of(replace(each, newest=2)) for each in (SECOND, FIRST))
PROBLEMS: Final[dict[str, Problem]] = {
    "no-such-agent": refusals.no_such_agent("nobody"),
    "agent-exists": refusals.exists(NAME),
    "agent-built-in": refusals.built_in("assistant"),
    "agent-in-use": refusals.in_use(NAME, ["desk"]),
    "agent-changed": refusals.changed(SECOND, 1),
    "version-needed": refusals.version_needed(),
    "circle-of-agents": invalid(
        "handoffs.0", "the agents lead in a circle: reviewer@3 → desk@1 → reviewer@3; leave one of them out"
    ),
    "no-schema": invalid(
        "response_format",
        "no JSON schema (draft 2020-12) that can be used: $.properties.a.type: 'text' is not valid under any "
        "of the given schemas",
    ),
}
