"""What a run does next: a pure function of its state. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.run_state import RunState
from shared.steps import Effect, Failure, RunStatus, Text, ToolCall

CORRECTIONS = 1
"""How often in a row the model is told that its tool call was unusable before the run fails."""

EMPTY_ANSWER = Failure(
    type="empty-answer",
    message="The model answered with neither text nor a tool call.",
    retryable=True,
)


@dataclass(frozen=True)
class CallModel:
    """Ask the model for its next message."""


@dataclass(frozen=True)
class CallTools:
    """Run these intents; they are in the log. `together`: none of them may be done twice or in order."""

    calls: tuple[ToolCall, ...]
    together: bool


@dataclass(frozen=True)
class GiveUp:
    """The outcome of this call is unknown and must not be risked twice."""

    call: ToolCall


@dataclass(frozen=True)
class Finish:
    status: RunStatus
    failure: Failure | None = None


@dataclass(frozen=True)
class Stop:
    """There is nothing to do: the run is over."""


Action = CallModel | CallTools | GiveUp | Finish | Stop


def next_action(state: RunState, *, attempt: int) -> Action:
    """The next action of a runner that holds the run since claim number `attempt`."""
    if state.finished or state.deleted or state.request is None:
        return Stop()
    if state.cancel is not None:
        return Finish(RunStatus.CANCELLED)
    if state.response is not None:
        return after_answer(state.response.content)
    if state.open_calls:
        return _open_calls(state.open_calls, attempt)
    return _next_round(state, state.request.max_rounds)


def after_answer(content: Text) -> Finish:
    """How the run ends with this answer."""
    return Finish(RunStatus.COMPLETED) if content else Finish(RunStatus.FAILED, EMPTY_ANSWER)


def _open_calls(calls: Mapping[str, ToolCall], attempt: int) -> Action:
    # An intent of an earlier claim may have been carried out before its runner died.
    for call in calls.values():
        if call.attempt < attempt and call.effect is Effect.IRREVERSIBLE:
            return GiveUp(call)
    together = all(call.effect is not Effect.IRREVERSIBLE for call in calls.values())
    ordered = tuple(calls.values())
    return CallTools(ordered if together else ordered[:1], together)


def _next_round(state: RunState, max_rounds: int) -> Action:
    if state.corrections > CORRECTIONS:
        failure = Failure(
            type="invalid-tool-call",
            message="The model was told what was wrong with its tool call and repeated such a call.",
        )
        return Finish(RunStatus.FAILED, failure)
    if state.rounds > max_rounds:
        failure = Failure(
            type="max-rounds",
            message=f"The model still asked for tools after {max_rounds} rounds (max_rounds).",
        )
        return Finish(RunStatus.FAILED, failure)
    return CallModel()
