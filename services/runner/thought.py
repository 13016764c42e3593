"""From an assistant message that asks for tools to the steps that record it. No input and output."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.runner.calls import CheckedCall, EffectOf, check_call, new_call_ids
from services.runner.journal import Draft
from services.runner.model import ModelReply, ModelRequest
from shared.run_state import RunState
from shared.steps import AgentThought, ToolCall, ToolResult


def thought(state: RunState, request: ModelRequest, reply: ModelReply, effect_of: EffectOf) -> list[Draft]:
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
            drafts += _intent(state.request.run_id, check_call(call, state.request.tools, effect_of))
    return drafts


def _intent(run_id: str, call: CheckedCall) -> list[Draft]:
    intent: Mapping[str, JsonValue] = {
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
