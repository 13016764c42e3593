"""What a run's wishes and its agent come to: everything that step 0 says about agents, models and tools."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from services.gateway.agents.definition import EVERY_TOOL, AgentDefinition
from services.gateway.agents.rates import rates
from services.gateway.agents.registry import Agents
from services.gateway.agents.team import BadTeam, Member, Team, assemble
from services.gateway.agents.version import ASSISTANT, USUAL_TOOLS, AgentVersion, Reference
from services.gateway.catalog import Catalog
from services.gateway.problems import INVALID, Problem, invalid
from services.gateway.requests import TIMEOUT_S, LimitsInput, RunInput
from services.gateway.settings import GatewaySettings
from shared.steps import AgentRef, AgentSnapshot, Effect, Parameters, Rates, ToolSpec, now

LIMITS: Final = tuple(LimitsInput.model_fields)
OVERRIDES: Final = ("model", "instructions", "response_format")


@dataclass(frozen=True)
class Resolved:
    """The run's own agent as this run has it, those that it can reach, the limits that are set, and for a
    budget the prices of the models."""

    agent: AgentSnapshot
    others: tuple[AgentSnapshot, ...]
    limits: dict[str, Any]
    rates: dict[str, Rates]


class Resolver:
    """Raises Problem: 422 that names the field at fault, 503."""

    def __init__(self, agents: Agents, catalog: Catalog, settings: GatewaySettings) -> None:
        self._agents = agents
        self._catalog = catalog
        self._settings = settings

    async def resolve(self, project: str, asked: RunInput) -> Resolved:
        agent = await self._named(project, asked.agent)
        definition = await self._overlaid(project, agent, asked)
        team = await self._team(project, agent)
        given = asked.response_format
        continued = team.handed_over_to() if given is not None else set[AgentRef]()
        others = []
        for member in team.others:
            theirs = member.agent.definition
            if member.agent.ref in continued:  # whoever answers in the end answers this run
                theirs = theirs.model_copy(update={"response_format": given})
            others.append(await self._snapshot(project, member, theirs))
        top = await self._snapshot(project, team.top, definition)
        limits = definition.limits.model_dump(exclude_none=True)
        return Resolved(top, tuple(others), limits, rates([top, *others], limits, now()))

    async def _named(self, project: str, name: str) -> AgentVersion:
        reference = Reference.parse(name)
        if reference is None:
            raise invalid("agent", "give the name of an agent, or name@version; GET /api/agents lists them")
        if reference in (Reference(ASSISTANT.name), Reference(ASSISTANT.name, ASSISTANT.version)):
            return ASSISTANT
        try:
            agent = await self._agents.get(project, *reference)
        except Problem as problem:
            raise invalid("agent", problem.detail) from None
        if agent.archived_at is not None:
            raise invalid("agent", f"the agent {agent.name} is archived; name another one")
        return agent

    async def _team(self, project: str, agent: AgentVersion) -> Team:
        async def load(references: Collection[Reference]) -> dict[Reference, AgentVersion]:
            return await self._agents.find(project, references)

        try:
            return await assemble(agent, load, is_newest=agent.version == agent.newest)
        except BadTeam as error:
            raise invalid("agent", str(error)) from None

    async def _overlaid(self, project: str, agent: AgentVersion, asked: RunInput) -> AgentDefinition:
        """The agent's definition with what the run says instead."""
        own = agent.definition
        changes: dict[str, Any] = _given(asked, OVERRIDES)
        if limits := _given(asked, LIMITS):
            changes["limits"] = own.limits.model_copy(update=limits)
        if parameters := asked.parameters.model_dump(exclude_none=True):
            changes["parameters"] = own.parameters.model_copy(update=parameters)
        if asked.model is not None:
            await self._catalog.require_model(asked.model)
        if asked.tools is not None:
            await self._require_narrower(project, agent, asked.tools)
            changes["tools"] = asked.tools
        return own.model_copy(update=changes) if changes else own

    async def _require_narrower(self, project: str, agent: AgentVersion, tools: tuple[str, ...]) -> None:
        await self._catalog.specs(project, tools)
        allowed = agent.definition.tools
        for index, name in enumerate(tools):
            if allowed is not None and name not in allowed:
                own = ", ".join(allowed) or "none"
                message = f"the agent {agent} may not use {name[:64]!r}; its tools are {own}"
                raise invalid(f"tools.{index}", message)

    async def _snapshot(self, project: str, member: Member, definition: AgentDefinition) -> AgentSnapshot:
        with _blamed_on(member.agent):
            model = definition.model or self._settings.mistral_model
            await self._catalog.require_model(model)
            tools = await self._tools(project, member.agent, definition)
        return AgentSnapshot(
            ref=member.agent.ref,
            model=model,
            instructions=definition.instructions,
            parameters=self._parameters(definition),
            tools=_all_tools(member, [_with_approval(spec, definition) for spec in tools]),
            response_format=definition.response_format,
        )

    async def _tools(
        self, project: str, agent: AgentVersion, definition: AgentDefinition
    ) -> tuple[ToolSpec, ...]:
        names = definition.tools
        if names is None and agent.is_built_in:
            offered = {each.tool.name for each in await self._catalog.tools(project) if each.enabled}
            names = tuple(name for name in USUAL_TOOLS if name in offered)
        return await self._catalog.specs(project, names)

    def _parameters(self, definition: AgentDefinition) -> Parameters:
        given = definition.parameters.model_dump(exclude_none=True)
        defaults = {"temperature": self._settings.temperature, "max_tokens": self._settings.max_tokens}
        return Parameters(**{**defaults, **given})


def _given(asked: RunInput, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(asked, name)) is not None}


@contextmanager
def _blamed_on(agent: AgentVersion) -> Iterator[None]:
    """What is wrong with an agent is no fault of the fields of a request."""
    try:
        yield
    except Problem as problem:
        if problem.kind is not INVALID or agent.is_built_in:
            raise
        raise invalid("agent", f"the agent {agent} cannot be used as it is: {problem.detail}") from None


def _with_approval(spec: ToolSpec, definition: AgentDefinition) -> ToolSpec:
    for rule in definition.approval_rules:
        if rule.tool in (EVERY_TOOL, spec.name) and rule.effect in (None, spec.effect):
            return spec.model_copy(update={"needs_approval": True})
    return spec


def _all_tools(member: Member, tools: list[ToolSpec]) -> tuple[ToolSpec, ...]:
    """The agent's tools and, as tools, the agents that it may hand over to or ask."""
    specs = [*tools, *map(_handoff, member.handoffs), *map(_ask, member.agents)]
    seen: set[str] = set()
    for name in (spec.name for spec in specs):
        if name in seen:
            message = f"the agent {member.agent} has two tools named {name!r}: one stands for an agent"
            raise invalid("agent", message)
        seen.add(name)
    return tuple(specs)


def _handoff(agent: AgentVersion) -> ToolSpec:
    return ToolSpec(
        name=f"handoff_to_{agent.name}",
        description=f"Hands the conversation over to the agent {agent.name}. {agent.definition.description}",
        parameters=_one_text("reason", "Why this agent should go on, and what it needs to know."),
        effect=Effect.PURE,
        source="handoff",
        settings={"agent": agent.name, "version": agent.version},
    )


def _ask(agent: AgentVersion) -> ToolSpec:
    limits = agent.definition.limits
    settings: dict[str, JsonValue] = {"agent": agent.name, "version": agent.version}
    if own := limits.model_dump(exclude_none=True):
        settings["limits"] = own
    return ToolSpec(
        name=f"ask_{agent.name}",
        description=f"Asks the agent {agent.name} and returns its answer. {agent.definition.description}",
        parameters=_one_text(
            "prompt", "The whole task, with all that it needs: it sees nothing of this conversation."
        ),
        effect=Effect.IDEMPOTENT,
        timeout_s=limits.timeout_s or TIMEOUT_S,
        source="agent",
        settings=settings,
    )


def _one_text(name: str, description: str) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name],
        "additionalProperties": False,
    }
