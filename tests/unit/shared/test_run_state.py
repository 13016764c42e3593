"""The fold: what a run's steps add up to, and that a gap is never folded over."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.run_state import LogGap, RunState, fold
from shared.steps import (
    AgentResponse,
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    CancelRequested,
    Effect,
    MemorySnapshot,
    RunDeleted,
    RunFinished,
    RunStatus,
    RunWaiting,
    Step,
    ToolCall,
    ToolResult,
    UnknownStep,
    Usage,
    UserRequest,
)
from tests.support.steps import AT, call, claimed, make, model_call, new_key, requested, result

KEY = new_key()


def intent(seq: int, call_id: str, effect: Effect = Effect.PURE) -> ToolCall:
    fields = {"call_id": call_id, "tool": "t", "arguments": {}, "effect": effect, "idempotency_key": call_id}
    return make(ToolCall, KEY, seq, **fields)


def thought(seq: int, *ids: str) -> AgentThought:
    calls = tuple(call("t", call_id=i) for i in ids)
    return make(AgentThought, KEY, seq, tool_calls=calls, model_call=model_call())


def opening() -> list[Any]:
    return [requested(KEY), claimed(KEY, 1), make(UserRequest, KEY, 2, content="hello")]


def whole() -> list[Any]:
    return [
        *opening(),
        thought(3, "a", "b"),
        intent(4, "a"),
        intent(5, "b"),
        result(KEY, 6, 1, call_id="b"),
        result(KEY, 7, 2, call_id="a"),
        make(AgentResponse, KEY, 8, content="done", model_call=model_call()),
        make(MemorySnapshot, KEY, 9, memory={}),
        make(RunFinished, KEY, 10, status="completed", at=AT + timedelta(seconds=5)),
    ]


def test_a_run_goes_from_queued_over_running_to_its_end() -> None:
    state = RunState()
    seen = []
    for step in whole():
        seen.append(state.status)
        state.apply(step)
    assert seen[:3] == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.RUNNING]
    assert state.status == RunStatus.COMPLETED
    assert state.finished_at == AT + timedelta(seconds=5)
    assert (state.rounds, state.tool_calls, state.model_calls) == (1, 2, 2)
    assert state.usage == Usage(input=20, output=10)
    assert state.open_calls == {}
    assert [turn.seq for turn in state.turns] == [2, 3, 6, 7, 8]


@given(st.sets(st.integers(0, 10), min_size=1, max_size=10))
def test_a_missing_step_is_a_gap_and_not_a_shorter_run(missing: set[int]) -> None:
    steps = [step for step in whole() if step.seq not in missing]
    if [step.seq for step in steps] == list(range(len(steps))):
        assert fold(steps).next_seq == len(steps)  # only the end is missing
        return
    with pytest.raises(LogGap):
        fold(steps)


@given(st.permutations(range(11)))
def test_steps_out_of_order_are_a_gap(order: list[int]) -> None:
    steps = [whole()[index] for index in order]
    if order == sorted(order):
        assert fold(steps).finished is not None
        return
    with pytest.raises(LogGap, match="came where"):
        fold(steps)


def test_a_repeated_step_is_a_gap() -> None:
    steps = opening()
    with pytest.raises(LogGap):
        fold([*steps, steps[-1]])


@given(st.integers(1, 10))
def test_folding_on_from_a_prefix_is_folding_the_whole(cut: int) -> None:
    state = fold(whole()[:cut])
    for step in whole()[cut:]:
        state.apply(step)
    assert state == fold(whole())


def test_a_takeover_counts_from_the_first_claim() -> None:
    later = claimed(KEY, 3, attempt=2, runner="runner-2", at=AT + timedelta(minutes=1))
    state = fold([*opening(), later])
    assert (state.attempt, state.started_at) == (2, AT)


def test_open_calls_are_the_intents_without_a_result() -> None:
    state = fold(
        [*opening(), thought(3, "a", "b"), intent(4, "a"), intent(5, "b"), result(KEY, 6, 1, call_id="a")]
    )
    assert list(state.open_calls) == ["b"]


def test_waiting_lasts_until_the_next_claim() -> None:
    waiting = make(RunWaiting, KEY, 3, reason="approval", call_id="a")
    assert fold([*opening(), waiting]).status == RunStatus.WAITING
    state = fold([*opening(), waiting, claimed(KEY, 4, attempt=2)])
    assert (state.status, state.waiting) == (RunStatus.RUNNING, None)


def test_the_first_cancel_is_the_one_that_counts_and_changes_no_end() -> None:
    first, second = (make(CancelRequested, KEY, seq, who=who) for seq, who in ((3, "ann"), (4, "bob")))
    state = fold([*opening(), first, second])
    assert state.cancel == first
    assert state.status == RunStatus.RUNNING
    late = fold([*whole(), make(CancelRequested, KEY, 11, who="ann")])
    assert late.status == RunStatus.COMPLETED


def test_the_tombstone_of_a_purged_run_folds_by_itself() -> None:
    state = fold([make(RunDeleted, KEY, 11, who="ann")])
    assert state.deleted
    assert state.request is None
    assert fold([*whole(), make(RunDeleted, KEY, 11, who="ann")]).deleted


def test_kinds_of_tomorrow_and_approvals_count_as_steps_only() -> None:
    steps: list[Step] = [
        *opening(),
        UnknownStep(kind="of-tomorrow", run_id=KEY.run_id, seq=3, at=AT, project="default", writer="w"),
        make(ApprovalRequested, KEY, 4, call_id="a", tool="t", arguments_hash="h"),
        make(ApprovalResolved, KEY, 5, call_id="a", decision="approved", arguments_hash="h", who="ann"),
    ]
    assert fold(steps).next_seq == 6


def wrong(seq: int, call_id: str) -> ToolResult:
    return result(KEY, seq, "no", call_id=call_id, status="error", error_type="invalid-arguments")


def test_corrections_count_thoughts_in_a_row_and_not_calls() -> None:
    bad: list[Any] = [thought(3, "a", "b"), intent(4, "a"), wrong(5, "a"), intent(6, "b"), wrong(7, "b")]
    assert fold([*opening(), *bad]).corrections == 1
    again: list[Any] = [thought(8, "c"), intent(9, "c"), wrong(10, "c")]
    assert fold([*opening(), *bad, *again]).corrections == 2
    good: list[Any] = [thought(8, "c"), intent(9, "c"), result(KEY, 10, 1, call_id="c")]
    state = fold([*opening(), *bad, *good, thought(11, "d"), intent(12, "d"), wrong(13, "d")])
    assert state.corrections == 1
