"""Where two requests to a model differ, and why; the requests that a run has made, made again. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Literal

from pydantic import JsonValue

from shared.conversation import Conversation
from shared.diff.matching import Effort
from shared.diff.texts import unified
from shared.model_request import JsonObject, ModelRequest
from shared.run_state import RunState, agent_of
from shared.steps import AgentRef, AgentResponse, AgentThought, AnswerRejected, Divergence, RunRequested, Step

MOST_OF_DIFF: Final = 16_384
"""Characters of a diff that is kept; what is longer is cut, and says so."""
MOST_LINES: Final = 2000
CONTEXT: Final = 3
"""Lines that are compared from the first difference on, and those that are shown before it."""
Cause = Literal["instructions", "message", "tool-schema", "tool-result", "parameter", "code-version"]
ModelTurn = AgentThought | AnswerRejected | AgentResponse


@dataclass(frozen=True)
class Made:
    """A request as it was made again, and the step that answers it."""

    request: ModelRequest
    turn: ModelTurn

    @property
    def is_as_recorded(self) -> bool:
        return self.request.hash() == self.turn.model_call.request_hash


def requests_of(steps: Sequence[Step], history: Sequence[JsonObject] = ()) -> Iterator[Made]:
    """Every request of the run in order. Answers that were taken from another run asked for nothing.

    Raises LogGap, and TypeError where a large value was not read.
    """
    state, conversations = RunState(), Conversations(history)
    for step in steps:
        if isinstance(step, ModelTurn) and step.copied_from is None and state.request is not None:
            yield Made(conversations.of(state.request, state.agent).request(state.turns), step)
        state.apply(step)


class Conversations:
    """The conversations of one run's agents, each made once."""

    def __init__(self, history: Sequence[JsonObject] = ()) -> None:
        self._history = history
        self._known: dict[AgentRef | None, Conversation] = {}

    def of(self, request: RunRequested, ref: AgentRef | None) -> Conversation:
        if ref not in self._known:
            self._known[ref] = Conversation(request, agent_of(request, ref), self._history)
        return self._known[ref]


def first_divergence(
    source: Sequence[Step], replay: Sequence[Step], history: Sequence[JsonObject] = ()
) -> Divergence | None:
    """The first model call at which the replay asked for something else than its source did. Other ids of the
    same calls are no difference.

    A fork's own calls are compared with those of the source behind the steps that it took over.
    """
    plan = replay[0].replay if replay and isinstance(replay[0], RunRequested) else None
    copied = (plan and plan.fork_step) or 0
    expected = (made for made in requests_of(source, history) if made.turn.seq > copied)
    sides = _ByPlace(), _ByPlace()
    for left, right in zip_longest(expected, requests_of(replay, history)):
        if left is None or right is None:
            return None
        added = [side.added(made.request) for side, made in zip(sides, (left, right), strict=True)]
        if added[0] != added[1] or _frame(left.request) != _frame(right.request):
            return divergence(left.turn, left.request, right.request)
    return None


class _ByPlace:
    """One run's messages with its calls by their place: two runs of a model give the same calls other ids."""

    def __init__(self) -> None:
        self._ids: dict[JsonValue, int] = {}
        self._known: Sequence[JsonObject] = ()

    def added(self, request: ModelRequest) -> list[JsonObject]:
        """What the request has beyond the one before; all of it where another agent goes on."""
        messages, known = request.messages, self._known
        if known and (len(messages) < len(known) or messages[0] is not known[0]):
            known = ()
        self._known = messages
        return [self._numbered(message) for message in messages[len(known) :]]

    def _numbered(self, message: JsonObject) -> JsonObject:
        numbered = dict(message)
        if "tool_call_id" in message:
            numbered["tool_call_id"] = self._place(message["tool_call_id"])
        if isinstance(calls := message.get("tool_calls"), list):
            numbered["tool_calls"] = [
                {**called, "id": self._place(called.get("id"))}
                for called in calls
                if isinstance(called, dict)
            ]
        return numbered

    def _place(self, call_id: JsonValue) -> int:
        return self._ids.setdefault(call_id, len(self._ids))


def _frame(request: ModelRequest) -> object:
    return request.model, request.parameters, request.tools


def divergence(turn: ModelTurn, expected: ModelRequest, actual: ModelRequest) -> Divergence:
    """How `actual` differs from the request that the source's `turn` answered, of which `expected` is what
    the source's log makes today."""
    recorded = turn.model_call.request_hash
    hashes = {"expected_hash": recorded, "actual_hash": actual.hash()}
    if expected.hash() != recorded:
        why = "What the log adds up to is not the request that was recorded: the log or the code has changed."
        return Divergence(step=turn.seq, cause="code-version", path="", diff=why, **hashes)
    cause, path = _cause(expected, actual)
    diff = readable(_shown(expected), _shown(actual))
    return Divergence(step=turn.seq, cause=cause, path=path, diff=diff, **hashes)


def _cause(expected: ModelRequest, actual: ModelRequest) -> tuple[Cause, str]:
    """The first difference in the order of what brings about what."""
    place = _first_difference(expected.messages, actual.messages)
    if place is not None and "system" in _roles(expected, actual, place):
        return "instructions", f"/messages/{place}"
    if (tool := _first_difference(expected.tools, actual.tools)) is not None:
        return "tool-schema", f"/tools/{tool}"
    if expected.model != actual.model:
        return "parameter", "/model"
    if (name := _first_parameter(expected.parameters, actual.parameters)) is not None:
        return "parameter", f"/{name}"
    if place is not None and _roles(expected, actual, place) == {"tool"}:
        return "tool-result", f"/messages/{place}/content"
    return "message", f"/messages/{place or 0}"


def _roles(left: ModelRequest, right: ModelRequest, place: int) -> set[JsonValue]:
    return {request.messages[place]["role"] for request in (left, right) if place < len(request.messages)}


def _first_difference(left: Sequence[Any], right: Sequence[Any]) -> int | None:
    pairs = enumerate(zip_longest(left, right))
    return next((place for place, (one, other) in pairs if one != other), None)


def _first_parameter(left: JsonObject, right: JsonObject) -> str | None:
    names = sorted({*left, *right})
    return next((name for name in names if left.get(name) != right.get(name)), None)


def readable(recorded: JsonValue, replayed: JsonValue) -> str:
    """How two values differ, as lines of a unified diff from the first difference on; bounded in work and
    size, whoever has made up the values."""
    left, right = _lines(recorded), _lines(replayed)
    same = next((n for n, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), None)
    start = max(0, (min(len(left), len(right)) if same is None else same) - CONTEXT)
    window = slice(start, start + MOST_LINES)
    lines = unified(left[window], right[window], Effort(), ("recorded", "replayed"), start)
    text = "\n".join(lines) or "The two are too long, and too different, to be compared line by line."
    return text if len(text) <= MOST_OF_DIFF else f"{text[:MOST_OF_DIFF]}\n[cut: {len(text)} characters]"


def _lines(value: JsonValue) -> list[str]:
    """For people: texts by their own lines."""
    return json.dumps(value, ensure_ascii=False, indent=2).replace("\\n", "\n").splitlines()


def _shown(request: ModelRequest) -> Any:
    fields: Mapping[str, Any] = {
        "model": request.model,
        **request.parameters,
        "tools": request.tools,
        "messages": request.messages,
    }
    return fields
