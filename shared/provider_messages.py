"""The turns of a conversation as messages in the provider's form. Pure."""

import json
from collections.abc import Iterable

from pydantic import JsonValue

from shared.run_state import Turn
from shared.steps import (
    AgentResponse,
    AgentThought,
    AnswerRejected,
    RequestedToolCall,
    Text,
    ToolResult,
    UserRequest,
)

JsonObject = dict[str, JsonValue]


def messages_of(turns: Iterable[Turn]) -> list[JsonObject]:
    """The turns in the provider's form."""
    return [message for turn in turns for message in _messages(turn)]


def text_of(value: Text) -> str:
    if not isinstance(value, str):
        raise TypeError("the body of this text was not read")
    return value


def tool_content(result: ToolResult) -> str:
    """What the model reads of a tool's result: text as it is, anything else as JSON."""
    if result.status == "ok":
        return result.result if isinstance(result.result, str) else _json(result.result)
    told = result.result if isinstance(result.result, str) else _json(result.result)
    return f"Error ({result.error_type or result.status}): {told}"


def _messages(turn: Turn) -> list[JsonObject]:
    match turn:
        case UserRequest():
            return [{"role": "user", "content": text_of(turn.content)}]
        case AgentThought():
            calls: list[JsonValue] = [_requested(call) for call in turn.tool_calls]
            return [{"role": "assistant", "content": text_of(turn.content), "tool_calls": calls}]
        case ToolResult():
            told = {"role": "tool", "tool_call_id": turn.call_id, "name": turn.tool}
            return [{**told, "content": tool_content(turn)}]
        case AnswerRejected():
            problem = f"{turn.problem}\nAnswer again, with nothing but JSON that fits the schema."
            answer: JsonObject = {"role": "assistant", "content": text_of(turn.content)}
            return [answer, {"role": "user", "content": problem}]
        case AgentResponse():
            return [{"role": "assistant", "content": text_of(turn.content)}]


def _requested(call: RequestedToolCall) -> dict[str, JsonValue]:
    function: dict[str, JsonValue] = {"name": call.tool, "arguments": text_of(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
