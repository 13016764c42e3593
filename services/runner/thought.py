"""From an assistant message that asks for tools to the steps that record it. No input and output."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue

from services.runner.conversation import CheckedCall, check_call, new_call_ids
from services.runner.journal import Draft
from services.runner.model import ModelReply, ModelRequest
from services.runner.tools.base import ToolError
from shared.run_state import RunState
from shared.steps import AgentThought, Effect, ToolCall, ToolResult


class CallChecks(Protocol):
    """What has to be known of the tools before a call is made."""

    def check(self, name: str, arguments: object) -> str | None: ...

    def effect_of(self, name: str, arguments: object) -> Effect: ...


def thought(state: RunState, request: ModelRequest, reply: ModelReply, tools: CallChecks) -> list[Draft]:
    """The thought, the intents, and the complaints about unusable calls: they belong into one message.

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
    if state.request is not None and state.rounds < state.request.max_rounds:
        for call in calls:
            drafts += _intent(state, check_call(call, state.request.tools, tools.check), tools)
    return drafts


def _intent(state: RunState, call: CheckedCall, tools: CallChecks) -> list[Draft]:
    run_id = state.request.run_id if state.request else ""
    intent: Mapping[str, JsonValue] = {
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": call.arguments,
        "effect": _effect_of(call, tools),
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


def _effect_of(call: CheckedCall, tools: CallChecks) -> Effect:
    """The effect of this very call, or the strongest that the tool declares."""
    if call.complaint is not None:
        return Effect.PURE
    try:
        return tools.effect_of(call.tool, call.arguments)
    except ToolError:
        return call.effect
