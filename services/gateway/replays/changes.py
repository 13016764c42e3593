"""What the changes of a replay stand for: models, agents, tools and prices as they are now."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from services.gateway.agents.rates import BUDGET, rates
from services.gateway.agents.resolution import Resolver
from services.gateway.catalog import Catalog
from services.gateway.problems import INVALID, Problem, invalid
from services.gateway.replays.inputs import ChangesInput
from services.gateway.requests import BoundsInput, RunInput
from shared.messages import Changes
from shared.run_state import agent_of
from shared.steps import AgentSnapshot, Parameters, Rates, RunRequested, ToolSpec, now

BOUNDS: Final = tuple(BoundsInput.model_fields)
OF_AGENTS: Final = ("model", "instructions", "tools", "response_format")
ANY_PROMPT: Final = "-"


class ChangeResolver:
    """Raises Problem: 422 that names the field at fault, 503."""

    def __init__(self, resolver: Resolver, catalog: Catalog) -> None:
        self._resolver = resolver
        self._catalog = catalog

    async def resolve(
        self, project: str, asked: ChangesInput, sources: Sequence[RunRequested], field: str
    ) -> Changes:
        """`field`: where in the request these changes stand, with a dot at its end."""
        with _within(field):
            if asked.agent is not None:
                changes = await self._of_agent(project, asked, asked.agent)
            else:
                changes = await self._of_parts(project, asked, sources)
            return changes.model_copy(update={"rates": _rates(changes, sources)})

    async def _of_agent(self, project: str, asked: ChangesInput, agent: str) -> Changes:
        """The agent as a run of it would have it that says the same."""
        said = {name: getattr(asked, name) for name in (*OF_AGENTS, *BOUNDS)}
        run = RunInput(prompt=ANY_PROMPT, agent=agent, parameters=asked.parameters, **said)
        resolved = await self._resolver.resolve(project, run)
        bounds = {name: resolved.limits.get(name) for name in BOUNDS}
        return Changes(agent=resolved.agent, agents=resolved.others, prompt=asked.prompt, **bounds)

    async def _of_parts(self, project: str, asked: ChangesInput, sources: Sequence[RunRequested]) -> Changes:
        if asked.model is not None:
            await self._catalog.require_model(asked.model)
        tools = None
        if asked.tools is not None:
            tools = tuple([await self._spec(project, each, sources) for each in enumerate(asked.tools)])
        return Changes(
            model=asked.model,
            instructions=asked.instructions,
            prompt=asked.prompt,
            parameters=Parameters(**asked.parameters.model_dump()),
            tools=tools,
            response_format=asked.response_format,
            **{name: getattr(asked, name) for name in BOUNDS},
        )

    async def _spec(self, project: str, named: tuple[int, str], sources: Sequence[RunRequested]) -> ToolSpec:
        """As all the replayed runs have the tool, with their rules of approval; else as it is now."""
        index, name = named
        recorded = [spec for source in sources for spec in source.tools if spec.name == name]
        offered = await self._catalog.tool(project, name)
        is_as_it_was = offered is None or (
            offered.enabled and all(spec.settings == offered.tool.spec.settings for spec in recorded)
        )
        if recorded and is_as_it_was and all(spec == recorded[0] for spec in recorded):
            return recorded[0]
        try:
            [spec] = await self._catalog.specs(project, [name])
        except Problem as problem:
            if problem.kind is not INVALID:
                raise
            raise invalid(f"tools.{index}", problem.errors[0].message) from None
        needs_approval = spec.needs_approval or any(each.needs_approval for each in recorded)
        return spec.model_copy(update={"needs_approval": needs_approval})


def specs_of(changes: Changes, sources: Iterable[RunRequested]) -> list[ToolSpec]:
    """Every tool that runs with these changes may use, those of the agents that they can reach too."""
    return [tool for agent in _agents(changes, sources) for tool in agent.tools]


def _agents(changes: Changes, sources: Iterable[RunRequested]) -> list[AgentSnapshot]:
    if changes.agent is not None:
        return [changes.agent, *(changes.agents or ())]
    names = ("model", "tools")
    update = {name: value for name in names if (value := getattr(changes, name)) is not None}
    tops: list[AgentSnapshot] = []
    for source in sources:
        tops += [agent_of(source, None).model_copy(update=update), *source.agents]
    return tops


def _rates(changes: Changes, sources: Sequence[RunRequested]) -> dict[str, Rates]:
    """The prices that the runs need to keep within their budget, where other models can be called."""
    is_limited = changes.budget_usd is not None or any(each.budget_usd is not None for each in sources)
    if changes.agent is None and changes.model is None and changes.budget_usd is None:
        return {}
    by_model = {agent.model: agent for agent in _agents(changes, sources)}
    return rates(by_model.values(), {BUDGET: True} if is_limited else {}, now())


@contextmanager
def _within(field: str) -> Iterator[None]:
    """Faults name the fields of the changes; the request has those at `field`."""
    try:
        yield
    except Problem as problem:
        errors = [each.model_copy(update={"field": f"{field}{each.field}"}) for each in problem.errors]
        detail = "; ".join(f"{each.field}: {each.message}" for each in errors) or problem.detail
        raise Problem(problem.kind, detail, errors=errors, headers=problem.headers) from problem
