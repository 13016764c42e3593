"""From a run's state to the next request to the model, and from its answer to steps. Pure."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from services.runner.model import JsonObject, ModelRequest
from shared.run_state import RunState, Turn
from shared.steps import (
    AgentResponse,
    AgentThought,
    Effect,
    Message,
    RequestedToolCall,
    RunRequested,
    Text,
    ToolResult,
    ToolSpec,
    UserRequest,
)

CALL_ID_LENGTH = 9  # the provider takes nine letters and digits


def next_request(state: RunState) -> ModelRequest:
    """The chat completion that the run asks for next."""
    snapshot = state.request
    if snapshot is None:
        raise ValueError("a run without its first step has no conversation")
    return ModelRequest(
        model=snapshot.model,
        messages=[*_opening(snapshot), *(_message(turn) for turn in state.turns)],
        tools=[_tool(spec) for spec in snapshot.tools],
        parameters=snapshot.parameters.model_dump(exclude_none=True),
    )


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


def new_call_ids(state: RunState, calls: Sequence[RequestedToolCall]) -> tuple[RequestedToolCall, ...]:
    """The calls with ids that are unique in the run; a model may leave them out or repeat them."""
    taken = set(state.call_ids)
    unique: list[RequestedToolCall] = []
    for index, call in enumerate(calls):
        call_id = call.call_id
        if not call_id or call_id == "null" or call_id in taken:
            call_id = _derived_id(state, index, taken)
        taken.add(call_id)
        unique.append(call.model_copy(update={"call_id": call_id}))
    return tuple(unique)


@dataclass(frozen=True)
class CheckedCall:
    """A requested call with its arguments read, or the message that tells the model what is wrong."""

    call_id: str
    tool: str
    arguments: JsonValue
    effect: Effect
    error_type: str | None = None
    complaint: str | None = None


ArgumentCheck = Callable[[str, dict[str, JsonValue]], str | None]


def check_call(call: RequestedToolCall, specs: Sequence[ToolSpec], check: ArgumentCheck) -> CheckedCall:
    """Read the raw arguments; `check` tells what is wrong with them for the named tool, or None."""
    raw = text_of(call.arguments)
    spec = next((spec for spec in specs if spec.name == call.tool), None)
    if spec is None:
        known = ", ".join(spec.name for spec in specs) or "none"
        return CheckedCall(
            call.call_id,
            call.tool,
            raw,
            Effect.PURE,
            "unknown-tool",
            f"There is no tool {call.tool!r}; the tools are: {known}.",
        )
    arguments, complaint = _parse(raw)
    if complaint is None:
        complaint = check(call.tool, arguments)
    if complaint is not None:
        return CheckedCall(call.call_id, call.tool, raw, Effect.PURE, "invalid-arguments", complaint)
    return CheckedCall(call.call_id, call.tool, arguments, spec.effect)


def _parse(raw: str) -> tuple[dict[str, JsonValue], str | None]:
    try:
        arguments = json.loads(raw or "{}")
    except (ValueError, RecursionError) as error:
        return {}, f"The arguments are not valid JSON ({error}); write one JSON object."
    if not isinstance(arguments, dict):
        return {}, "The arguments are not a JSON object; write one JSON object."
    return arguments, None


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


def _tool(spec: ToolSpec) -> JsonObject:
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        },
    }


def _derived_id(state: RunState, index: int, taken: set[str]) -> str:
    run_id = state.request.run_id if state.request else ""
    for salt in range(1000):
        digest = hashlib.sha256(f"{run_id}:{state.next_seq}:{index}:{salt}".encode()).hexdigest()
        if digest[:CALL_ID_LENGTH] not in taken:
            return digest[:CALL_ID_LENGTH]
    raise AssertionError("unreachable: a thousand hashes in a row were taken")


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
