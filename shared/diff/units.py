"""What of a run's steps is compared: the conversation, a tool call and its result as one. Pure.

Not here: which units of two runs belong together (`alignment.py`). Out of the comparison stay envelopes,
figures, ids that differ from run to run, and steps about how a run was carried out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import JsonValue
from pydantic_core import from_json, to_jsonable_python

from shared.diff.alignment import Keys
from shared.diff.values import canonical, digest
from shared.steps import AgentThought, Artifact, Failure, RequestedToolCall, Step, ToolCall, ToolResult

TOOL_CALL: Final = "tool-call"
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "user-request": ("content",),
    "agent-thought": ("content", "reasoning", "dropped_calls"),
    TOOL_CALL: ("arguments",),
    "tool-result": ("status", "error_type", "result"),
    "approval-resolved": ("decision", "arguments", "note"),
    "outcome-resolved": ("decision", "result", "note"),
    "agent-changed": ("agent",),
    "answer-rejected": ("content", "problem"),
    "agent-response": ("content", "reasoning"),
    "run-finished": ("status", "error"),
}
"""What is compared of each kind of step."""
UNSAID: Final[dict[str, JsonValue]] = {
    "content": "",
    "reasoning": None,
    "dropped_calls": 0,
    "error_type": None,
    "arguments": None,
    "note": "",
    "error": None,
}
"""What a field holds when a step does not say anything by it."""


@dataclass
class Unit:
    """Steps that belong together and what they say; `asks` are the calls that a thought asks for."""

    kind: str
    tool: str | None
    seqs: list[int]
    says: dict[str, JsonValue]
    asks: JsonValue = None

    @cached_property
    def keys(self) -> Keys:
        """A tool call is the same call whatever came of it."""
        about = self.says.get("arguments") if self.kind == TOOL_CALL else self.says.get("content", self.says)
        same = (self.kind, self.tool, canonical([about, self.asks]))
        return Keys(same, (self.kind, self.tool), self.kind)


def units_of(steps: Sequence[Step]) -> list[Unit]:
    """In the order in which they began."""
    requested = {
        call.call_id: call for step in steps if isinstance(step, AgentThought) for call in step.tool_calls
    }
    made = {step.call_id for step in steps if isinstance(step, ToolCall | ToolResult)}
    units: list[Unit] = []
    open_calls: dict[str, Unit] = {}
    for step in steps:
        match step:
            case ToolResult():
                if (unit := open_calls.pop(step.call_id, None)) is None:  # denied: it was not made
                    units.append(unit := _unmade(step, requested.get(step.call_id)))
                unit.seqs.append(step.seq)
                unit.says |= {**_says(step), **_artifacts(step)}
            case ToolCall():
                units.append(Unit(TOOL_CALL, step.tool, [step.seq], _says(step)))
                open_calls[step.call_id] = units[-1]
            case AgentThought():
                units.append(_thought(step, made))
            case _ if step.kind in FIELDS:
                call = requested.get(getattr(step, "call_id", ""))
                units.append(Unit(step.kind, call.tool if call else None, [step.seq], _says(step)))
    return units


def _says(step: Step) -> dict[str, JsonValue]:
    values = ((name, getattr(step, name)) for name in FIELDS[step.kind])
    return {name: _json(value) for name, value in values if name not in UNSAID or value != UNSAID[name]}


def _thought(step: AgentThought, made: set[str]) -> Unit:
    """The calls that were made are units of their own."""
    asks: list[JsonValue] = [_asked(call) for call in step.tool_calls]
    open_calls = [
        asked for asked, call in zip(asks, step.tool_calls, strict=True) if call.call_id not in made
    ]
    says = {**_says(step), **({"tool_calls": open_calls} if open_calls else {})}
    return Unit(step.kind, None, [step.seq], says, asks)


def _unmade(result: ToolResult, asked: RequestedToolCall | None) -> Unit:
    says = {"arguments": _asked(asked)["arguments"]} if asked is not None else {}
    return Unit(TOOL_CALL, result.tool, [], says)


def _asked(call: RequestedToolCall) -> dict[str, JsonValue]:
    return {"tool": call.tool, "arguments": _parsed(_json(call.arguments))}


def _parsed(arguments: JsonValue) -> JsonValue:
    """What the model wrote may be no JSON at all."""
    if not isinstance(arguments, str):
        return arguments
    try:
        parsed: JsonValue = from_json(arguments, allow_inf_nan=False)
    except ValueError:
        return arguments
    return parsed


def _artifacts(result: ToolResult) -> dict[str, JsonValue]:
    files: list[JsonValue] = [_file(each) for each in result.artifacts]
    return {"artifacts": files} if files else {}


def _file(artifact: Artifact) -> JsonValue:
    """Its content by hash: base64 says nothing to anybody."""
    sha256, _ = digest(_json(artifact.data))
    return {**_json(artifact.model_copy(update={"data": ""})), "data": f"sha256:{sha256}"}


def _json(value: Any) -> Any:
    if isinstance(value, Failure):
        return value.model_dump(mode="json", exclude={"attempts"})
    return to_jsonable_python(value, by_alias=True)
