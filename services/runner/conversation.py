"""From a run's snapshot and its turns to the next request to the model. Pure."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from pydantic import JsonValue, TypeAdapter

from services.runner.model import JsonObject, ModelRequest, Tools
from shared.run_state import Turn
from shared.steps import (
    AgentResponse,
    AgentThought,
    Message,
    RequestedToolCall,
    RunRequested,
    Text,
    ToolResult,
    ToolSpec,
    UserRequest,
)

_specs: Final = TypeAdapter(tuple[ToolSpec, ...])


class Conversation:
    """The requests of one run; what they have in common is made once."""

    def __init__(self, snapshot: RunRequested) -> None:
        self._model = snapshot.model
        self._opening = _opening(snapshot)
        self._tools = _tools(_specs.dump_json(snapshot.tools))
        self._parameters = snapshot.parameters.model_dump(exclude_none=True)

    def request(self, turns: Iterable[Turn]) -> ModelRequest:
        """The chat completion that the run asks for after these turns."""
        messages = [*self._opening, *map(_message, turns)]
        return ModelRequest(self._model, messages, self._tools, self._parameters)


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


def _opening(snapshot: RunRequested) -> list[JsonObject]:
    messages: list[JsonObject] = []
    if snapshot.instructions:
        messages.append({"role": "system", "content": text_of(snapshot.instructions)})
    return messages + [_earlier(message) for message in snapshot.messages]


def _earlier(message: Message) -> JsonObject:
    return {"role": message.role, "content": text_of(message.content)}


def _message(turn: Turn) -> JsonObject:
    match turn:
        case UserRequest():
            return {"role": "user", "content": text_of(turn.content)}
        case AgentThought():
            return {
                "role": "assistant",
                "content": text_of(turn.content),
                "tool_calls": [_requested(call) for call in turn.tool_calls],
            }
        case ToolResult():
            return {
                "role": "tool",
                "tool_call_id": turn.call_id,
                "name": turn.tool,
                "content": tool_content(turn),
            }
        case AgentResponse():
            return {"role": "assistant", "content": text_of(turn.content)}


def _requested(call: RequestedToolCall) -> dict[str, JsonValue]:
    function: dict[str, JsonValue] = {"name": call.tool, "arguments": text_of(call.arguments)}
    return {"id": call.call_id, "type": "function", "function": function}


@lru_cache(maxsize=32)
def _tools(specs: bytes) -> Tools:
    """Most runs offer the same tools; equal ones are put into the provider's form once."""
    return Tools(_tool(spec) for spec in _specs.validate_json(specs))


def _tool(spec: ToolSpec) -> JsonObject:
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        },
    }


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
