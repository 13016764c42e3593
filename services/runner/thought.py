"""From an assistant message that asks for tools to the steps that record it. No input and output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from services.runner.calls import CheckedCall, EffectOf, check_call, new_call_ids
from services.runner.journal import Draft
from services.runner.means import AnswerOf
from services.runner.model import ModelReply
from shared.model_request import canonical
from shared.run_state import Decided, RunState
from shared.steps import (
    AgentSnapshot,
    AgentThought,
    ApprovalRequested,
    Effect,
    ModelCall,
    RequestedToolCall,
    ToolCall,
    ToolResult,
)

MOST_CALLS: Final = 64
"""Of one message of the model."""
TOO_MANY_RUNS: Final = "This run has started all the runs that it may; do without another agent."
NOBODY_ANSWERED: Final = "Nobody decided about this call in time; it was not made."


@dataclass(frozen=True)
class Rules:
    """By what a call is judged: the agent's tools, their effects, until when a person may be asked; and what
    is known without a call."""

    agent: AgentSnapshot
    effect_of: EffectOf
    now: datetime
    answer_of: AnswerOf


def thought(state: RunState, call: ModelCall, reply: ModelReply, rules: Rules) -> list[Draft]:
    """The thought, then intents, questions to a person, and complaints about unusable calls: one message.

    Beyond the last round there are no intents: the calls are recorded, but will not be made.
    """
    calls = new_call_ids(state, reply.tool_calls[:MOST_CALLS])
    fields = {
        "content": reply.content,
        "reasoning": reply.reasoning,
        "tool_calls": calls,
        "dropped_calls": len(reply.tool_calls) - len(calls),
        "model_call": call,
    }
    drafts: list[Draft] = [(AgentThought, fields)]
    if state.request is not None and state.rounds - state.rounds_before < state.request.max_rounds:
        checked = [check_call(call, rules.agent.tools, rules.effect_of) for call in calls]
        shares = _shares(state.runs_left, sum(call.asks_run for call in checked))
        for each in checked:
            most_runs = next(shares) if each.asks_run else 0
            answer = rules.answer_of(each) if each.complaint is None else None
            if each.needs_approval and each.complaint is None and answer is None:
                drafts.append(_question(each, rules.now, state.request.approval_timeout_s))
            else:
                drafts += _intent(state.request.run_id, each, most_runs, answer)
    return drafts


def acted(state: RunState, decision: Decided, rules: Rules) -> list[Draft]:
    """What a person's decision makes of a call: its intent, or the result that says no. `rules` are those of
    the agent that made the call, which need not be the one that the conversation belongs to now."""
    asked, resolved = decision.asked, decision.resolved
    if resolved.decision != "approved":
        why = (
            NOBODY_ANSWERED
            if resolved.decision == "expired"
            else f"A person denied this call. {resolved.note}"
        )
        result = {"call_id": asked.call_id, "tool": asked.tool, "status": "denied", "result": why.strip()}
        return [(ToolResult, result)]
    given = asked.arguments if resolved.arguments is None else resolved.arguments
    meant = RequestedToolCall(call_id=asked.call_id, tool=asked.tool, arguments=canonical(given))
    checked = check_call(meant, rules.agent.tools, rules.effect_of)
    run_id = state.request.run_id if state.request else ""
    most_runs = next(_shares(state.runs_left, len(state.asked) + len(state.decided)))
    answer = rules.answer_of(checked) if checked.complaint is None else None
    return _intent(run_id, checked, most_runs, answer)


def _shares(left: int, asking: int) -> Iterator[int]:
    """How many runs each of the calls may start, equal while there are enough for all."""
    for others in range(asking, 0, -1):
        share = max(min(left, 1), left // others)
        left -= share
        yield share


def _question(call: CheckedCall, now: datetime, timeout_s: float | None) -> Draft:
    fields = {
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": call.arguments,
        "arguments_hash": call.arguments_hash,
        "effect": call.effect,
        "expires_at": now + timedelta(seconds=timeout_s) if timeout_s is not None else None,
    }
    return ApprovalRequested, fields


def _intent(run_id: str, call: CheckedCall, most_runs: int, answer: Draft | None) -> list[Draft]:
    """The intent, with the result where that is known without a call."""
    if answer is None and call.asks_run and most_runs == 0:
        call = replace(call, asks_run=False, error_type="failed", complaint=TOO_MANY_RUNS)
    intent: Mapping[str, JsonValue | Effect] = {
        "most_runs": most_runs if call.asks_run and answer is None else None,
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": call.arguments,
        "effect": call.effect,
        "idempotency_key": f"{run_id}:{call.call_id}",
    }
    if call.complaint is None:
        return [(ToolCall, intent), answer] if answer is not None else [(ToolCall, intent)]
    result = {
        "call_id": call.call_id,
        "tool": call.tool,
        "status": "error",
        "error_type": call.error_type,
        "result": call.complaint,
    }
    return [(ToolCall, intent), (ToolResult, result)]
