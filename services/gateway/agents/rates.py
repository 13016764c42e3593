"""The prices that a run with a budget is given: those of every model that it may call. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from services.gateway.problems import invalid
from shared.steps import AgentSnapshot, Rates

if TYPE_CHECKING:
    from shared.price_book import PriceBook

BUDGET: Final = "budget_usd"


def rates(agents: Iterable[AgentSnapshot], limits: Mapping[str, Any], at: datetime) -> dict[str, Rates]:
    """By model; empty without a budget. Raises Problem (422) for a model whose calls cannot be bounded."""
    team = list(agents)
    if BUDGET not in limits and not any(map(_asks_with_budget, team)):
        return {}
    return {agent.model: _rates(agent, at) for agent in team}


def _rates(agent: AgentSnapshot, at: datetime) -> Rates:
    found = _book().rates(agent.model, at)
    if isinstance(found, Rates):
        return found
    message = f"no budget can be kept by the agent {agent.ref.name}: {found.reason}"
    raise invalid(BUDGET, f"{message}; leave it out, or choose another model")


def _asks_with_budget(agent: AgentSnapshot) -> bool:
    limits = (tool.settings.get("limits") for tool in agent.tools if tool.source == "agent")
    return any(isinstance(each, dict) and BUDGET in each for each in limits)


@cache
def _book() -> "PriceBook":
    """Read once, and only where somebody asks for a budget: it takes a tenth of a second."""
    from shared.price_book import PriceBook

    return PriceBook()
