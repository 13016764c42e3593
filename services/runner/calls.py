"""The tool calls that a model asked for: ids unique in the run, and arguments that were checked. Pure."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.runner.model import strictly_decoded
from services.runner.tools.base import ToolError
from shared.model_request import canonical
from shared.provider_messages import text_of
from shared.run_state import RunState
from shared.steps import Effect, RequestedToolCall, ToolSpec

CALL_ID_LENGTH: Final = 9  # the provider takes nine letters and digits
# What can stand in a path of the API and in a header of a request.
_usable_id: Final = re.compile(r"(?!null$)[A-Za-z0-9_-]{1,64}")


def new_call_ids(state: RunState, calls: Sequence[RequestedToolCall]) -> tuple[RequestedToolCall, ...]:
    """The calls with usable ids that are unique in the run; a model may leave them out or repeat them."""
    taken = set(state.callers)
    unique: list[RequestedToolCall] = []
    for index, call in enumerate(calls):
        call_id = call.call_id
        if _usable_id.fullmatch(call_id) is None or call_id in taken:
            call_id = _derived_id(state, index, taken)
        taken.add(call_id)
        unique.append(call if call_id == call.call_id else call.model_copy(update={"call_id": call_id}))
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
    needs_approval: bool = False
    asks_run: bool = False

    @property
    def arguments_hash(self) -> str:
        """What a person's decision about the call is bound to."""
        return hashlib.sha256(canonical([self.tool, self.arguments]).encode()).hexdigest()


EffectOf = Callable[[ToolSpec, dict[str, JsonValue]], Effect]
"""The effect of a call of the tool. Raises ToolError, which tells the model what is wrong with it."""


def check_call(call: RequestedToolCall, specs: Sequence[ToolSpec], effect_of: EffectOf) -> CheckedCall:
    """Read the raw arguments, and ask what their call would do."""
    raw = text_of(call.arguments)
    spec = next((spec for spec in specs if spec.name == call.tool), None)
    if spec is None:
        known = ", ".join(spec.name for spec in specs) or "none"
        complaint = f"There is no tool {call.tool!r}; the tools are: {known}."
        return CheckedCall(call.call_id, call.tool, raw, Effect.PURE, "unknown-tool", complaint)
    try:
        arguments = _parse(raw)
        effect = effect_of(spec, arguments)
        return CheckedCall(
            call.call_id,
            call.tool,
            arguments,
            effect,
            needs_approval=spec.needs_approval,
            asks_run=spec.source == "agent",
        )
    except ToolError as error:
        return CheckedCall(call.call_id, call.tool, raw, Effect.PURE, "invalid-arguments", str(error))


def _parse(raw: str) -> dict[str, JsonValue]:
    """Raises ToolError, also for what no JSON text in UTF-8 can hold."""
    try:
        arguments = strictly_decoded(raw or "{}")
        canonical(arguments).encode()
    except UnicodeEncodeError as error:
        raise ToolError("The arguments have lone surrogates, which are no text; leave them out.") from error
    except (ValueError, RecursionError) as error:
        raise ToolError(f"The arguments are not valid JSON ({error}); write one JSON object.") from error
    if not isinstance(arguments, dict):
        raise ToolError("The arguments are not a JSON object; write one JSON object.")
    return arguments


def _derived_id(state: RunState, index: int, taken: set[str]) -> str:
    run_id = state.request.run_id if state.request else ""
    for salt in range(1000):
        digest = hashlib.sha256(f"{run_id}:{state.next_seq}:{index}:{salt}".encode()).hexdigest()
        if digest[:CALL_ID_LENGTH] not in taken:
            return digest[:CALL_ID_LENGTH]
    raise AssertionError("unreachable: a thousand hashes in a row were taken")
