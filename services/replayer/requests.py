"""From step 0 of a source, and the changes of an arm, to step 0 of a run that replays it. Pure."""

from datetime import datetime
from typing import Any

from services.replayer.replay_runs import Planned, most_runs
from shared.messages import Changes, ReplayRequested
from shared.steps import AgentSnapshot, Parameters, ReplayPlan, RunRequested

REPLACED = (
    "agents",
    "model",
    "instructions",
    "prompt",
    "tools",
    "response_format",
    "max_rounds",
    "timeout_s",
    "budget_usd",
)
"""Fields of `Changes` that stand in step 0 under the same name."""


def run_request(
    order: ReplayRequested,
    planned: Planned,
    source: RunRequested,
    writer: str,
    told_at: datetime | None = None,
) -> RunRequested:
    """It belongs to no session, group or tree of runs; what was said before in the session it has with it, as
    its source was told it at `told_at`."""
    arm = next(arm for arm in order.arms if arm.name == planned.arm)
    envelope = {
        "run_id": planned.run_id(order),
        "project": order.project,
        "at": order.at,
        "writer": writer,
        "attempt": 0,
        "traceparent": None,
    }
    alone = dict.fromkeys(
        ("session_id", "group", "after_run_id", "parent_run_id", "parent_call_id", "root_run_id")
    )
    changed = source.model_copy(update=_changed(source, arm.changes))
    agents = [agent.model_copy(update=_asking(agent, order)) for agent in changed.agents]
    fields = {
        **envelope,
        **alone,
        **_asking(changed, order),
        "agents": tuple(agents),
        "priority": "batch" if most_runs(order) > 1 else source.priority,
        "replay": _plan(order, planned).model_copy(update={"told_at": told_at if source.history else None}),
    }
    return changed.model_copy(update=fields)


def _asking(agent: RunRequested | AgentSnapshot, order: ReplayRequested) -> dict[str, Any]:
    """Its tools, with what the project says by now about asking a person."""
    asking = {"needs_approval": True}
    tools = [tool.model_copy(update=asking) if tool.name in order.ask_about else tool for tool in agent.tools]
    return {"tools": tuple(tools)}


def _changed(source: RunRequested, changes: Changes) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    parameters = source.parameters
    if (agent := changes.agent) is not None:
        names = ("model", "instructions", "tools", "response_format")
        fields = {"agent": agent.ref} | {name: getattr(agent, name) for name in names}
        parameters = agent.parameters
    given = {name: getattr(changes, name) for name in REPLACED}
    fields |= {name: value for name, value in given.items() if value is not None}
    fields["parameters"] = _overlaid(parameters, changes.parameters)
    fields["rates"] = {**source.rates, **changes.rates}
    return fields


def _overlaid(parameters: Parameters, changes: Parameters) -> Parameters:
    return parameters.model_copy(update=changes.model_dump(exclude_none=True))


def _plan(order: ReplayRequested, planned: Planned) -> ReplayPlan:
    """What finds the step to blame is forks."""
    arm = next(arm for arm in order.arms if arm.name == planned.arm)
    return ReplayPlan(
        mode="fork" if order.mode == "blame" else order.mode,
        source_run_id=planned.source(order),
        replay_id=order.replay_id,
        arm=arm.name,
        sample=planned.sample,
        fork_step=planned.fork_step,
        edits=arm.edits,
        tools=order.tools,
    )
