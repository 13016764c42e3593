"""Runs of runs: a call that another agent answers in a run of its own.

The child's id follows from the call, so starting it again starts nothing. The parent lets go while the child
runs, and whoever ends the child puts the parent back into the queue.
"""

from typing import Any, Final

import structlog
from nats.aio.client import Client

from services.runner.journal import Draft
from services.runner.means import Asked
from shared.asked_runs import child_run_id
from shared.cancellation import cancel
from shared.errors import Conflict
from shared.provider_messages import text_of
from shared.run_log import JobGone, RunLog
from shared.run_state import RUNS, RunState, fold
from shared.steps import (
    AgentSnapshot,
    ReplayPlan,
    RunRequested,
    RunStatus,
    ToolCall,
    ToolResult,
)
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

LIMITS: Final = ("max_rounds", "timeout_s", "approval_timeout_s")
"""What the asked agent may set for itself; else it has the asking run's."""
BUDGET: Final = "budget_usd"
"""Of this it has a share, or what its agent sets, or none."""


class Children:
    """Methods raise Unavailable, after which the parent's job comes again."""

    def __init__(self, client: Client, run_log: RunLog) -> None:
        self._client = client
        self._log = run_log

    async def answer(self, call: ToolCall, parent: RunRequested, asked: Asked) -> Draft | None:
        """The result of the call; None while its run goes on. Starts the run if there is none."""
        key = RunKey(call.project, child_run_id(call))
        child = fold((await self._log.read(key, fresh=True)).steps)
        if child.request is None and not child.deleted:
            sealed = self._log.seal([_request(key, call, parent, asked)])
            try:
                await self._log.request(key, sealed)
            except Conflict:
                log.info("the run of this call was started by another runner", run_id=key.run_id)
            return None
        return _result(call, child, asked.agent) if child.finished is not None or child.deleted else None

    async def cancel(self, call: ToolCall, why: str) -> None:
        """Ask the child to stop, if it goes on."""
        key = RunKey(call.project, child_run_id(call))
        await cancel(self._client, self._log, key, who=f"run {call.run_id}", why=why)

    async def tell_parent(self, child: RunState) -> None:
        """Put the run that waits for this one back into the queue; harmless when it does not wait."""
        request = child.request
        if request is not None and request.parent_run_id is not None:
            parent = RunKey(request.project, request.parent_run_id)
            try:
                await self._log.requeue(parent, cause=f"child:{request.run_id}")
            except JobGone:
                log.info("the run that asked is gone", run_id=request.run_id, parent_run_id=parent.run_id)


def _request(key: RunKey, call: ToolCall, parent: RunRequested, asked: Asked) -> RunRequested:
    arguments: Any = call.arguments
    agent, own = asked.agent, asked.limits
    limits = {name: value for name, value in own.items() if name in (*LIMITS, BUDGET)}
    fields = {**{name: getattr(parent, name) for name in LIMITS}, **limits}
    return RunRequested(
        **fields,
        run_id=key.run_id,
        seq=0,
        at=call.at,
        project=key.project,
        writer=call.writer,
        agent=agent.ref,
        model=agent.model,
        instructions=agent.instructions,
        prompt=str(arguments.get("prompt", "")) if isinstance(arguments, dict) else str(arguments),
        parameters=agent.parameters,
        tools=agent.tools,
        response_format=agent.response_format,
        agents=parent.agents,
        rates=parent.rates,
        most_runs=call.most_runs or 1,
        user_id=parent.user_id,
        group=parent.group,
        priority=parent.priority,
        replay=_guard(parent),
        parent_run_id=call.run_id,
        parent_call_id=call.call_id,
        root_run_id=parent.root_run_id or call.run_id,
    )


def _guard(parent: RunRequested) -> ReplayPlan | None:
    """The runs that a replay starts may do no more than it may do itself."""
    if (plan := parent.replay) is None:
        return None
    return ReplayPlan(mode="rerun", source_run_id=plan.source_run_id, tools=plan.tools)


def _result(call: ToolCall, child: RunState, agent: AgentSnapshot) -> Draft:
    spent = child.ledger.used if child.ledger is not None and child.finished else None
    runs = child.request.most_runs - child.runs_left if child.request is not None else 1
    fields: dict[str, Any] = {"call_id": call.call_id, "tool": call.tool, "units": {RUNS: float(runs)}}
    fields["spent_usd"] = spent
    if child.response is not None and child.status is RunStatus.COMPLETED:
        return ToolResult, {**fields, "status": "ok", "result": text_of(child.response.content)}
    error = child.finished.error if child.finished else None
    why = error.message if error else "it was deleted" if child.deleted else f"it was {child.status}"
    told = f"The agent {agent.ref.name} gave no answer: {why}"
    return ToolResult, {**fields, "status": "error", "error_type": "failed", "result": told}
