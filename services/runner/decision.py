"""What a run does next: a pure function of its state. No I/O, no clock."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.run_state import Decided, RunState
from shared.steps import Divergence, Effect, Failure, OutcomeResolved, RunStatus, Text, ToolCall

CORRECTIONS = 1
"""How often in a row the model is told that its tool call was unusable before the run fails."""

EMPTY_ANSWER = Failure(
    type="empty-answer",
    message="The model answered with neither text nor a tool call.",
    retryable=True,
)


REPAIRS = 1
"""How often in a row the model may mend an answer that does not fit the response format."""


@dataclass(frozen=True)
class CallModel:
    """Ask the model for its next message."""


@dataclass(frozen=True)
class CallTools:
    """Run these intents; they are in the log. `together`: none of them may be done twice or in order."""

    calls: tuple[ToolCall, ...]
    together: bool


@dataclass(frozen=True)
class Act:
    """A person has decided about these calls: they become intents, or results that say no."""

    decided: tuple[Decided, ...]


@dataclass(frozen=True)
class Settle:
    """A person has found out what became of this call: it was carried out, or nobody can go on with it."""

    call: ToolCall
    outcome: OutcomeResolved


@dataclass(frozen=True)
class Wait:
    """Nothing can be done until somebody else has done something; no runner is needed for that."""

    reason: Literal["approval", "unknown-outcome", "budget", "child-run"]
    call_id: str | None
    until: datetime | None = None
    why: str = ""


@dataclass(frozen=True)
class Finish:
    status: RunStatus
    failure: Failure | None = None


@dataclass(frozen=True)
class Stop:
    """There is nothing to do: the run is over."""


Action = CallModel | CallTools | Act | Settle | Wait | Finish | Stop


def next_action(state: RunState, *, attempt: int, away: Collection[str] = ()) -> Action:
    """The next action of a runner that holds the run since claim number `attempt`.

    `away`: the calls that child runs carry out and have not answered yet.
    """
    if state.finished or state.deleted or state.request is None:
        return Stop()
    if state.cancel is not None:
        return Finish(RunStatus.CANCELLED)
    if state.response is not None:
        return after_answer(state.response.content)
    if state.verified is not None:
        return after_rehearsal(state.verified.divergence)
    if state.missed is not None:
        return Finish(RunStatus.FAILED, not_recorded(state.missed.tool))
    if open_calls := [call for call in state.open_calls.values() if call.call_id not in away]:
        return _open_calls(state, open_calls, attempt)
    if state.decided:
        return Act(tuple(state.decided.values()))
    if state.asked:
        until = min((each.expires_at for each in state.asked.values() if each.expires_at), default=None)
        return Wait("approval", next(iter(state.asked)), until)
    if state.open_calls:
        return Wait("child-run", next(iter(state.open_calls)))
    return _next_round(state, state.request.max_rounds)


def after_answer(content: Text) -> Finish:
    """How the run ends with this answer."""
    return Finish(RunStatus.COMPLETED) if content else Finish(RunStatus.FAILED, EMPTY_ANSWER)


def after_rehearsal(apart: Divergence | None) -> Finish:
    """How a run ends that was there to rehearse another."""
    if apart is None:
        return Finish(RunStatus.COMPLETED)
    where = f"{apart.cause} at {apart.path}" if apart.path else apart.cause
    message = f"The rehearsal parts from the record at step {apart.step}: {where}."
    return Finish(RunStatus.FAILED, Failure(type="diverged", message=message))


def invalid_answer(problem: str) -> Failure:
    message = f"The model was told what was wrong with its answer and repeated it. {problem}"
    return Failure(type="invalid-answer", message=message, retryable=True)


def not_recorded(tool: str) -> Failure:
    message = (
        f"{tool} was called as the replayed run never called it. A replay makes no call that changes "
        "something unless its `tools` say so (answer or on_miss `live`)."
    )
    return Failure(type="tool-not-recorded", message=message)


def _open_calls(state: RunState, calls: list[ToolCall], attempt: int) -> Action:
    if (call := _in_doubt(state, calls, attempt)) is not None:
        outcome = state.outcomes.get(call.call_id)
        if outcome is None or not _is_fresh(outcome, attempt):
            return Wait("unknown-outcome", call.call_id)
        return CallTools((call,), False) if outcome.decision == "did-not-happen" else Settle(call, outcome)
    together = all(call.effect is not Effect.IRREVERSIBLE for call in calls)
    return CallTools(tuple(calls if together else calls[:1]), together)


def _in_doubt(state: RunState, calls: list[ToolCall], attempt: int) -> ToolCall | None:
    """The irreversible call that an earlier claim may have carried out before its runner died.

    Beside such a call all are made one after the other, each once the result before it is on disk. So none
    has been begun behind one that got its result in this claim, and none behind one without a result,
    unless a child run carries that one out.
    """
    if state.settled_in == attempt:
        return None
    for call in calls:
        if call.effect is Effect.PURE:
            return None
        if call.effect is Effect.IRREVERSIBLE:
            return call if call.attempt < attempt else None
    return None


def _is_fresh(outcome: OutcomeResolved, attempt: int) -> bool:
    """What was found out before the last claim says nothing about what that claim's runner has done."""
    return outcome.decision != "did-not-happen" or outcome.attempt >= attempt - 1


def _next_round(state: RunState, max_rounds: int) -> Action:
    if state.corrections > CORRECTIONS:
        failure = Failure(
            type="invalid-tool-call",
            message="The model was told what was wrong with its tool call and repeated such a call.",
        )
        return Finish(RunStatus.FAILED, failure)
    if state.rounds - state.rounds_before > max_rounds:
        failure = Failure(
            type="max-rounds",
            message=f"The model still asked for tools after {max_rounds} rounds (max_rounds).",
        )
        return Finish(RunStatus.FAILED, failure)
    return CallModel()
