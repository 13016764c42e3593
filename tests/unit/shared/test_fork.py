"""Where a run can be forked, and what the fork takes over."""

from typing import Any

import pytest
from hypothesis import given

from shared.fork import START, CannotFork, fork_points, kept
from shared.run_state import fold
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentResponse,
    AgentThought,
    RunRetried,
    RunStatus,
    Step,
    ToolResult,
    UserRequest,
)
from tests.support.replays import edit
from tests.support.run_samples import runs, whole_run
from tests.support.steps import make, new_key, only

RUN = whole_run(new_key(), tools=2)
"""0 request, 1 claim, 2 user, 3 thought, 4 call, 5 result, 6 thought, 7 call, 8 result, 9 answer, 10, 11."""


def refused(fork_step: int, *edits: Any) -> str:
    with pytest.raises(CannotFork) as refusal:
        kept(RUN, fork_step, edits)
    return str(refusal.value)


def test_a_run_can_be_forked_where_no_call_is_under_way() -> None:
    assert fork_points(RUN) == [START, 2, 3, 5, 6, 8]


@given(runs())
def test_what_a_fork_keeps_leaves_no_call_open_but_those_of_its_last_thought(steps: list[Step]) -> None:
    for point in fork_points(steps):
        taken = kept(steps, point)
        assert [step.seq for step in taken] == sorted(step.seq for step in taken)
        assert all(step.seq <= point for step in taken)
        request = [step.model_copy(update={"seq": place}) for place, step in enumerate([steps[0], *taken])]
        assert not fold(request).open_calls


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (1, "fork at step 0 or 2"),
        (4, "fork at step 3 or 5"),
        (7, "fork at step 6 or 8"),
        (9, "fork at step 8"),
        (12, "the run has no step 12; its last is 11"),
    ],
)
def test_any_other_step_is_refused_with_those_beside_it(step: int, words: str) -> None:
    assert words in refused(step)


def test_edits_change_messages_results_and_the_calls_of_the_last_thought() -> None:
    result = edit(5, "result", {"value": 16})
    prompt = edit(2, "content", "What is 6 + 10?")
    taken = kept(RUN, 8, (result, prompt))
    assert only(taken, UserRequest)[0].content == "What is 6 + 10?"
    assert only(taken, ToolResult)[0].result == {"value": 16}
    arguments = edit(6, "arguments", '{"value": 2}', "call00001")
    [call] = only(kept(RUN, 6, (arguments,)), AgentThought)[-1].tool_calls
    assert call.arguments == '{"value": 2}'


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([edit(9, "content", "no")], "step 9 is no message or result that the fork keeps"),
        ([edit(5, "content", "no")], "step 5 (tool-result) has no 'content'; edit its 'result'"),
        ([edit(2, "content", 7)], "the content of step 2 is a text"),
        ([edit(4, "result", 7)], "step 4 (tool-call) has no 'result'"),
        ([edit(3, "arguments", "{}", "call00000")], "the thought that the run is forked at"),
    ],
)
def test_edits_that_fit_no_kept_step_are_refused_in_words(edits: Any, words: str) -> None:
    assert words in refused(8, *edits)


def test_a_call_that_a_thought_does_not_have_is_refused_with_those_that_it_has() -> None:
    words = "has no call 'nobody'; its calls are call00001"
    assert words in refused(6, edit(6, "arguments", "{}", "nobody"))


def test_an_edited_result_is_a_good_one() -> None:
    failed = [
        step.model_copy(update={"status": "error", "error_type": "failed"}) if step.seq == 5 else step
        for step in RUN
    ]
    [result] = only(kept(failed, 5, (edit(5, "result", 1),)), ToolResult)
    assert (result.status, result.error_type) == ("ok", None)


def test_an_answer_that_was_taken_back_is_not_kept() -> None:
    key = new_key()
    steps = [*whole_run(key, tools=1)]
    again = [
        make(RunRetried, key, len(steps), who="user"),
        steps[3].model_copy(update={"seq": len(steps) + 1}),
    ]
    taken = kept([*steps, *again], len(steps) + 1)
    assert not only(taken, AgentResponse)
    assert fold(steps).status is RunStatus.COMPLETED


def test_a_handover_and_the_change_of_the_agent_belong_together() -> None:
    key = new_key()
    run = whole_run(key, tools=1)
    change = make(AgentChanged, key, 6, agent=AgentRef(name="other"), call_id="call00000")
    steps = [*run[:6], change]
    assert fork_points(steps) == [START, 2, 3, 6]
