"""What a run was given to go by, as its step 0 says it, in the form in which two of them are compared. Pure.

Left out is what does not touch the conversation: for whom the run is, its labels, prices, and its kin.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import JsonValue

from shared.steps import RunRequested

COMPARED: Final = frozenset(
    {
        "agent",
        "model",
        "instructions",
        "prompt",
        "messages",
        "parameters",
        "response_format",
        "tools",
        "agents",
    }
    | {"history", "max_rounds", "budget_usd", "timeout_s", "approval_timeout_s", "most_runs"}
)


def setup_of(request: RunRequested, *, with_prompt: bool) -> dict[str, JsonValue]:
    """Tools and agents stand by their names: their order says nothing."""
    setup = request.model_dump(mode="json", include=set(COMPARED if with_prompt else COMPARED - {"prompt"}))
    agents = [{**agent.pop("ref"), **agent} for agent in setup["agents"]]
    for each in (setup, *agents):
        each["tools"] = _by_name(each["tools"])
    return {**setup, "agents": _by_name(agents)}


def _by_name(items: Sequence[dict[str, Any]]) -> dict[str, JsonValue]:
    return {item.pop("name"): item for item in items}
