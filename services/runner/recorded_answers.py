"""The answers of tools that a replay has without a call: those of its source, by the plan's policy. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from services.runner.calls import CheckedCall
from services.runner.journal import Draft
from services.runner.means import AnswerOf
from shared.model_request import canonical
from shared.steps import Effect, ReplayPlan, Step, ToolAnswer, ToolCall, ToolResult, ToolSpec

OTHERS: Final = "*"
RECORDED: Final = ToolAnswer()
CAREFUL: Final = ToolAnswer(on_miss="fail")
"""What holds for a call that changes something: one that cannot be undone is made only if its tool is named,
one that can be repeated also if `*` says so."""
NOT_RECORDED: Final = "not-recorded"


class RecordedAnswers:
    """The n-th equal call gets the n-th answer that the source has for it."""

    def __init__(self, plan: ReplayPlan, source: Sequence[Step]) -> None:
        self._plan = plan
        self._found: dict[str, list[ToolResult]] = defaultdict(list)
        calls: dict[str, ToolCall] = {}
        for step in source:
            if isinstance(step, ToolCall):
                calls[step.call_id] = step
            elif isinstance(step, ToolResult) and (call := calls.get(step.call_id)) is not None:
                self._found[_key(call.tool, call.arguments)].append(step)

    def thinking(self, copied: Iterable[int], tools: Sequence[ToolSpec]) -> AnswerOf:
        """For the calls of one thought; `copied` are the answers that were given before."""
        given, handovers = set(copied), handovers_of(tools)
        return lambda call: None if call.tool in handovers else self.of(call, given)

    def of(self, call: CheckedCall, given: set[int]) -> Draft | None:
        """The result of the call, which is then in `given` too; None: it is to be made."""
        policy = self._policy(call)
        if policy.answer == "live":
            return None
        if policy.answer == "static":
            return _result(call, status="ok", result=policy.static)
        for recorded in self._found[_key(call.tool, call.arguments)]:
            if recorded.seq not in given:
                given.add(recorded.seq)
                return _copy(call, recorded)
        return self._missed(call, policy)

    def _policy(self, call: CheckedCall) -> ToolAnswer:
        named = self._plan.tools.get(call.tool)
        if named is not None:
            return named
        others = self._plan.tools.get(OTHERS)
        if call.effect is Effect.PURE or call.asks_run:  # another run keeps to the same plan
            return others or RECORDED
        if others is None:
            return CAREFUL
        if call.effect is Effect.IDEMPOTENT or others.answer == "static":
            return others
        return CAREFUL if others.on_miss == "live" else ToolAnswer(on_miss=others.on_miss)

    def _missed(self, call: CheckedCall, policy: ToolAnswer) -> Draft | None:
        if policy.on_miss == "live":
            return None
        told = f"The run that is replayed has no answer to this call of {call.tool}; it was not made."
        error_type = NOT_RECORDED if policy.on_miss == "fail" else "failed"
        return _result(call, status="error", error_type=error_type, result=told)


def handovers_of(tools: Sequence[ToolSpec]) -> frozenset[str]:
    """The tools that nobody answers: the conversation goes on with another agent."""
    return frozenset(tool.name for tool in tools if tool.source == "handoff")


def _copy(call: CheckedCall, recorded: ToolResult) -> Draft:
    """Files and figures for pricing stay with the run that made them."""
    kept = ("status", "error_type", "result", "latency_ms")
    fields = {name: getattr(recorded, name) for name in kept}
    return _result(call, **fields, copied_from=recorded.seq)


def _result(call: CheckedCall, **fields: Any) -> Draft:
    return ToolResult, {"call_id": call.call_id, "tool": call.tool, **fields}


def _key(tool: str, arguments: object) -> str:
    return canonical([tool, arguments])
