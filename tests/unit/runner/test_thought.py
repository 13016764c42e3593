"""What a message of the model comes to: so many calls and runs, and decisions by the agent that asked."""

from typing import Any

import pytest

from services.runner.model import ModelReply
from services.runner.thought import MOST_CALLS, TOO_MANY_RUNS, Rules, acted, thought
from shared.run_state import RunState, fold
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentSnapshot,
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    Effect,
    RequestedToolCall,
    Step,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from tests.support.steps import AT, call, claimed, make, model_call, new_key, requested, tool_spec

KEY = new_key()
ASK = ToolSpec(name="ask_helper", description="", parameters={}, effect=Effect.IDEMPOTENT, source="agent")
AGENT = AgentSnapshot(ref=AgentRef(name="a"), model="m", tools=(ASK, tool_spec("pure")))
RULES = Rules(AGENT, lambda spec, _: spec.effect, AT, lambda call: None)


def drafts_of(state: RunState, *calls: RequestedToolCall) -> list[tuple[type[Any], Any]]:
    return list(thought(state, model_call(), ModelReply("m", tool_calls=calls), RULES))


def started(**fields: Any) -> RunState:
    return fold([requested(KEY, tools=AGENT.tools, **fields), claimed(KEY, 1)])


def test_of_more_calls_than_a_run_can_make_the_first_are_taken_up_and_the_rest_is_counted() -> None:
    (_, said), *rest = drafts_of(started(), *(call("pure") for _ in range(MOST_CALLS + 7)))
    assert (len(said["tool_calls"]), said["dropped_calls"], len(rest)) == (MOST_CALLS, 7, MOST_CALLS)


@pytest.mark.parametrize(
    ("most_runs", "calls", "shares"),
    [(256, 2, [127, 128]), (4, 2, [1, 2]), (3, 4, [1, 1, None, None]), (1, 1, [None])],
)
def test_the_runs_that_a_run_may_start_are_shared_by_its_calls(
    most_runs: int, calls: int, shares: list[int | None]
) -> None:
    drafts = drafts_of(started(most_runs=most_runs), *(call("ask_helper") for _ in range(calls)))
    assert [fields["most_runs"] for kind, fields in drafts if kind is ToolCall] == shares
    told = [fields["result"] for kind, fields in drafts if kind is ToolResult]
    assert told == [TOO_MANY_RUNS] * shares.count(None)
    assert sum(share or 0 for share in shares) <= most_runs - 1


def test_runs_that_ended_count_by_what_they_came_to_and_open_ones_by_what_they_may() -> None:
    def asks(seq: int, call_id: str, most_runs: int) -> Step:
        fields = {"call_id": call_id, "tool": "ask_helper", "arguments": {}, "idempotency_key": call_id}
        return make(ToolCall, KEY, seq, **fields, effect=Effect.IDEMPOTENT, most_runs=most_runs)

    answered = {"call_id": "a", "tool": "ask_helper", "status": "ok", "result": "", "units": {"runs": 3.0}}
    steps: list[Step] = [requested(KEY, most_runs=20), claimed(KEY, 1), asks(2, "a", 9), asks(3, "b", 5)]
    assert fold(steps).runs_left == 5
    assert fold([*steps, make(ToolResult, KEY, 4, **answered)]).runs_left == 11


def decided(*between: Step, arguments: dict[str, Any] | None) -> RunState:
    hashed = {"call_id": "c1", "arguments_hash": "0" * 64}
    asked = make(ApprovalRequested, KEY, 3, **hashed, tool="pure", arguments={"value": 1})
    answer = {**hashed, "decision": "approved", "who": "user", "arguments": arguments}
    said = make(AgentThought, KEY, 2, tool_calls=(call("pure", call_id="c1"),), model_call=model_call())
    steps: list[Step] = [requested(KEY, tools=AGENT.tools), claimed(KEY, 1), said, asked, *between]
    return fold([*steps, make(ApprovalResolved, KEY, len(steps), **answer)])


@pytest.mark.parametrize("arguments", [None, {"value": 2}])
def test_an_approved_call_is_made_although_the_conversation_was_handed_over(
    arguments: dict[str, Any] | None,
) -> None:
    handed_over = make(AgentChanged, KEY, 4, agent=AgentRef(name="b"), call_id="c2")
    state = decided(handed_over, arguments=arguments)
    assert state.agent == AgentRef(name="b")
    assert state.callers["c1"] == AgentRef(name="helper")
    [(kind, fields)] = acted(state, state.decided["c1"], RULES)
    assert (kind, fields["arguments"]) == (ToolCall, arguments or {"value": 1})
    assert fields["most_runs"] is None
