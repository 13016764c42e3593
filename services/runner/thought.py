"""From an assistant message that asks for tools to the steps that record it. No input and output."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from services.runner.calls import CheckedCall, EffectOf, check_call, new_call_ids
from services.runner.journal import Draft
from services.runner.model import ModelReply, ModelRequest, canonical
from shared.run_state import Decided, RunState
from shared.steps import (
    AgentSnapshot,
    AgentThought,
    ApprovalRequested,
    Effect,
    RequestedToolCall,
    ToolCall,
    ToolResult,
)

NOBODY_ANSWERED = "Nobody decided about this call in time; it was not made."


@dataclass(frozen=True)
class Rules:
    """By what a call is judged: the agent's tools, their effects, and until when a person may be asked."""

    agent: AgentSnapshot
    effect_of: EffectOf
    now: datetime


def thought(state: RunState, request: ModelRequest, reply: ModelReply, rules: Rules) -> list[Draft]:
    """The thought, then intents, questions to a person, and complaints about unusable calls: one message.

    Beyond the last round there are no intents: the calls are recorded, but will not be made.
    """
    calls = new_call_ids(state, reply.tool_calls)
    fields = {
        "content": reply.content,
        "reasoning": reply.reasoning,
        "tool_calls": calls,
        "model_call": reply.call(request),
    }
    drafts: list[Draft] = [(AgentThought, fields)]
    if state.request is not None and state.rounds - state.rounds_before < state.request.max_rounds:
        for call in calls:
            checked = check_call(call, rules.agent.tools, rules.effect_of)
            if checked.needs_approval and checked.complaint is None:
                drafts.append(_question(checked, rules.now, state.request.approval_timeout_s))
            else:
                drafts += _intent(state.request.run_id, checked)
    return drafts


def acted(run_id: str, decision: Decided, rules: Rules) -> list[Draft]:
    """What a person's decision makes of a call: its intent, or the result that says no."""
    asked, resolved = decision.asked, decision.resolved
    if resolved.decision != "approved":
        why = (
            NOBODY_ANSWERED
            if resolved.decision == "expired"
            else f"A person denied this call. {resolved.note}"
        )
        result = {"call_id": asked.call_id, "tool": asked.tool, "status": "denied", "result": why.strip()}
        return [(ToolResult, result)]
    if resolved.arguments is None:
        call = CheckedCall(asked.call_id, asked.tool, asked.arguments, asked.effect)
        return _intent(run_id, call)
    edited = RequestedToolCall(
        call_id=asked.call_id, tool=asked.tool, arguments=canonical(resolved.arguments)
    )
    return _intent(run_id, check_call(edited, rules.agent.tools, rules.effect_of))


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


def _intent(run_id: str, call: CheckedCall) -> list[Draft]:
    intent: Mapping[str, JsonValue | Effect] = {
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": call.arguments,
        "effect": call.effect,
        "idempotency_key": f"{run_id}:{call.call_id}",
    }
    if call.complaint is None:
        return [(ToolCall, intent)]
    result = {
        "call_id": call.call_id,
        "tool": call.tool,
        "status": "error",
        "error_type": call.error_type,
        "result": call.complaint,
    }
    return [(ToolCall, intent), (ToolResult, result)]
