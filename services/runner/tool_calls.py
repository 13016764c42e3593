"""Making the calls of a run: by the runner's own tools, by remote ones, by child runs, or by handing over."""

import asyncio
from collections.abc import Mapping

from pydantic import JsonValue

from services.runner.decision import CallTools
from services.runner.journal import Draft, Writable
from services.runner.means import Asked, Means
from services.runner.spending import share
from services.runner.tools.base import ToolContext, ToolError
from services.runner.tools.registry import ToolOutcome
from shared.json_schema import complaint
from shared.ledger import Ledger
from shared.run_state import agent_of
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentSnapshot,
    Effect,
    SpendReserved,
    ToolCall,
    ToolResult,
    ToolSpec,
)


class ToolCalls:
    """`away`: the calls that child runs carry out and have not answered yet."""

    def __init__(self, journal: Writable, means: Means) -> None:
        self._journal = journal
        self._means = means
        self.away: set[str] = set()

    def effect_of(self, spec: ToolSpec, arguments: dict[str, JsonValue]) -> Effect:
        """The effect of this very call. Raises ToolError that tells the model what is wrong with it."""
        if spec.source == "installed":
            return self._means.tools.effect_of(spec.name, arguments)
        if (problem := complaint(spec.parameters, arguments)) is not None:
            raise ToolError(f"The arguments do not fit: {problem}")
        return spec.effect

    async def make(self, action: CallTools) -> None:
        """Make the calls, several at once, and record each result as it comes."""
        if len(action.calls) == 1:
            await self._make_one(action.calls[0])
            return
        tasks = [asyncio.create_task(self._make_one(call)) for call in action.calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def cancel_children(self, why: str) -> None:
        """The runs that answer open calls have nobody left to answer."""
        for call in self._journal.state.open_calls.values():
            if self._means.family is not None and self.spec_of(call).source == "agent":
                await self._means.family.cancel(call, why)

    async def _make_one(self, call: ToolCall) -> None:
        spec = self.spec_of(call)
        match spec.source:
            case "handoff":
                self._journal.record(*self._hand_over(call, spec))
            case "agent":
                await self._ask_agent(call, spec)
            case _:
                self._journal.record(_result(call, await self.outcome(call)))

    async def outcome(self, call: ToolCall) -> ToolOutcome:
        """What the runner's own tool makes of the call, or a remote one."""
        spec = self.spec_of(call)
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        context = self._context(call, spec)
        if spec.source == "installed":
            return await self._means.tools.call(call.tool, arguments, context)
        if self._means.remote is None:
            return ToolOutcome("error", f"This runner has no {spec.source} tools.", 0, {})
        return await self._means.remote.call(spec, arguments, context)

    async def _ask_agent(self, call: ToolCall, spec: ToolSpec) -> None:
        if self._means.family is None:
            self._journal.record(_result(call, ToolOutcome("error", "This runner starts no runs.", 0, {})))
            return
        agent = agent_of(self._journal.request, _agent_named_by(spec))
        asked = Asked(agent, {**_own_limits(spec), **await self._share(call)})
        answer = await self._means.family.answer(call, self._journal.request, asked)
        if answer is None:
            self.away.add(call.call_id)
            return
        self.away.discard(call.call_id)
        self._journal.record(answer)

    async def _share(self, call: ToolCall) -> dict[str, JsonValue]:
        """The budget of the run that answers the call, set aside on disk before that run begins."""
        ledger = self._journal.state.ledger
        if ledger is None:
            return {}
        self.set_aside(call, ledger)
        reserved = ledger.reserved[call.call_id]
        await self._journal.commit()
        return {"budget_usd": float(reserved)}

    def set_aside(self, call: ToolCall, ledger: Ledger) -> None:
        """The share of the run that answers the call; once."""
        if call.call_id not in ledger.reserved:
            asking = [
                each.call_id
                for each in self._journal.state.open_calls.values()
                if each.call_id not in ledger.reserved and self.spec_of(each).source == "agent"
            ]
            own = _own_limits(self.spec_of(call))
            usd = share(ledger, len(asking), own.get("budget_usd"))
            self._journal.record((SpendReserved, {"call_id": call.call_id, "usd": usd}))

    def _hand_over(self, call: ToolCall, spec: ToolSpec) -> list[Draft]:
        """The first of a thought's handoffs counts; the agent after it has not been asked about others."""
        ref = _agent_named_by(spec)
        fields = {"call_id": call.call_id, "tool": call.tool}
        if spec not in self._agent.tools:
            why = "The conversation was handed to another agent by the call before this one."
            return [(ToolResult, {**fields, "status": "error", "error_type": "failed", "result": why})]
        told = {**fields, "status": "ok", "result": f"The conversation is {ref.name}'s now."}
        return [(ToolResult, told), (AgentChanged, {"agent": ref, "call_id": call.call_id})]

    def _context(self, call: ToolCall, spec: ToolSpec) -> ToolContext:
        return ToolContext(
            project=call.project,
            run_id=call.run_id,
            session_id=self._journal.request.session_id,
            call_id=call.call_id,
            idempotency_key=call.idempotency_key,
            user_id=self._journal.request.user_id,
            agent=self._agent.ref.name,
            timeout_s=spec.timeout_s,
        )

    @property
    def _agent(self) -> AgentSnapshot:
        return agent_of(self._journal.request, self._journal.state.agent)

    def spec_of(self, call: ToolCall) -> ToolSpec:
        """The tool of the call, as the agent had it that made the call: it may have handed over since."""
        state = self._journal.state
        agent = agent_of(self._journal.request, state.callers.get(call.call_id))
        return next(spec for spec in agent.tools if spec.name == call.tool)


def _own_limits(spec: ToolSpec) -> Mapping[str, JsonValue]:
    """The limits that the asked agent sets for itself."""
    limits = spec.settings.get("limits")
    return limits if isinstance(limits, dict) else {}


def _agent_named_by(spec: ToolSpec) -> AgentRef:
    return AgentRef.model_validate({"name": spec.settings["agent"], "version": spec.settings["version"]})


def _result(call: ToolCall, outcome: ToolOutcome) -> Draft:
    return ToolResult, {
        "call_id": call.call_id,
        "tool": call.tool,
        "status": outcome.status,
        "error_type": "failed" if outcome.status == "error" else None,
        "result": outcome.result,
        "latency_ms": outcome.latency_ms,
        "units": outcome.units,
        "artifacts": outcome.artifacts,
    }
