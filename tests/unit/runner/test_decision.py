"""`fold` and `next_action` under a model, a broker and a user who do anything at any time.

The machine plays the runner with the pure functions alone: it asks for the next action, appends the steps
that this action leads to, and between any two appends the runner may die, the user may cancel, and another
runner may take over.
"""

from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.runner.calls import check_call, new_call_ids
from services.runner.decision import CallModel, CallTools, Finish, Settle, Stop, Wait, next_action
from services.runner.tools.base import ToolError
from shared.conversation import Conversation
from shared.run_state import agent_of, fold
from shared.steps import (
    AgentResponse,
    AgentThought,
    CancelRequested,
    Effect,
    OutcomeResolved,
    RequestedToolCall,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    RunWaiting,
    Step,
    ToolCall,
    ToolResult,
    ToolSpec,
    UserRequest,
)
from tests.support.steps import check_history, make, model_call, new_key, only, requested, tool_spec

TOOLS = tuple(tool_spec(effect.value, effect) for effect in Effect)
CALLS = st.builds(
    RequestedToolCall,
    call_id=st.sampled_from(["", "null", "call00001", "call00002"]),
    tool=st.sampled_from([*Effect, "teleport"]).map(str),
    arguments=st.sampled_from(["{}", "", '{"value": 1}', "{", "[]", '{"bad": 1}']),
)


def _effect_of(spec: ToolSpec, given: Mapping[str, Any]) -> Effect:
    if "bad" in given:
        raise ToolError("no such argument")
    return Effect(spec.name)


class RunMachine(RuleBasedStateMachine):
    @initialize(rounds=st.integers(1, 3))
    def request(self, rounds: int) -> None:
        self.key = new_key()
        self.steps: list[Step] = [requested(self.key, tools=TOOLS, max_rounds=rounds)]
        self.acts: list[str] = []
        self.asked = 0
        self.most_rounds = rounds
        self.claims = 0

    @property
    def over(self) -> bool:
        return any(isinstance(step, RunFinished) for step in self.steps)

    def append(self, kind: type[Any], **fields: Any) -> None:
        self.steps.append(make(kind, self.key, len(self.steps), attempt=self.claims, **fields))

    @precondition(lambda self: not self.over)
    @rule()
    def another_runner_takes_over(self) -> None:
        self.claims += 1
        self.append(RunClaimed, runner=f"runner-{self.claims}")
        if not fold(self.steps).turns:
            self.append(UserRequest, content="Go.")

    @rule()
    def the_user_cancels(self) -> None:
        self.append(CancelRequested, who="user")

    @precondition(lambda self: self.claims and not self.over)
    @rule(
        answer=st.lists(CALLS, min_size=1, max_size=3) | st.sampled_from(["", "The answer."]),
        dies=st.booleans(),
    )
    def the_runner_acts(self, answer: str | list[RequestedToolCall], dies: bool) -> None:
        state = fold(self.steps)
        match next_action(state, attempt=self.claims):
            case CallModel():
                self.asked += 1
                snapshot = only(self.steps, RunRequested)[0]
                Conversation(snapshot, agent_of(snapshot, state.agent)).request(state.turns)
                self._model(answer)
            case CallTools(calls, together):
                assert together or len(calls) == 1
                for call in calls[: len(calls) // 2] if dies else calls:
                    self._act(call)
                    self._result(call)
                if dies:
                    self._act(calls[-1])  # done, but its result is lost with the runner
                    self.another_runner_takes_over()
            case Wait(reason, call_id):
                assert reason == "unknown-outcome"
                assert call_id is not None
                self.append(RunWaiting, reason=reason, call_id=call_id)
                self._a_person_finds_out(call_id)
                self.another_runner_takes_over()
            case Settle(call, outcome):
                self._settle(call, outcome)
            case Finish(status, failure):
                self.append(RunFinished, status=status, error=failure)
            case Stop():
                raise AssertionError("a run that is not over has something to do")

    def _model(self, answer: str | list[RequestedToolCall]) -> None:
        if isinstance(answer, str):
            self.append(AgentResponse, content=answer, model_call=model_call())
            return
        state = fold(self.steps)
        calls = new_call_ids(state, answer)
        self.append(AgentThought, tool_calls=calls, model_call=model_call())
        if state.rounds >= self.most_rounds:
            return
        for call in calls:
            wrong = check_call(call, TOOLS, _effect_of)
            intent = {"arguments": wrong.arguments, "effect": wrong.effect, "idempotency_key": call.call_id}
            self.append(ToolCall, call_id=call.call_id, tool=call.tool, **intent)
            if wrong.complaint is not None:
                told = {"status": "error", "error_type": wrong.error_type, "result": wrong.complaint}
                self.append(ToolResult, call_id=call.call_id, tool=call.tool, **told)

    def _a_person_finds_out(self, call_id: str) -> None:
        """And tells the truth, or has had enough of the run."""
        truth = "happened" if call_id in self.acts else "did-not-happen"
        decision = "fail" if len(self.steps) % 5 == 0 else truth
        self.append(OutcomeResolved, call_id=call_id, decision=decision, who="user", result=1)

    def _settle(self, call: ToolCall, outcome: OutcomeResolved) -> None:
        if outcome.decision == "happened":
            self._result(call)
            return
        assert outcome.decision == "fail"
        self.append(ToolResult, call_id=call.call_id, tool=call.tool, status="unknown", result="?")
        self.append(RunFinished, status=RunStatus.FAILED)

    def _act(self, call: ToolCall) -> None:
        self.acts.append(call.call_id)
        if call.effect is Effect.IRREVERSIBLE:
            assert self.acts.count(call.call_id) == 1, "an irreversible act twice"

    def _result(self, call: ToolCall) -> None:
        self.append(ToolResult, call_id=call.call_id, tool=call.tool, status="ok", result=1)

    @invariant()
    def the_model_is_asked_a_bounded_number_of_times(self) -> None:
        assert self.asked <= self.most_rounds + 1

    @invariant()
    def an_ended_run_is_sound_and_stays_ended(self) -> None:
        if self.over:
            state = check_history(self.steps)
            assert next_action(state, attempt=self.claims + 1) == Stop()

    @invariant()
    def a_cancelled_run_only_ends(self) -> None:
        state = fold(self.steps)
        if state.cancel is not None and not self.over:
            assert next_action(state, attempt=self.claims) == Finish(RunStatus.CANCELLED)

    def teardown(self) -> None:
        """Left to itself, with a model that only ever asks for tools, the run ends within its bounds."""
        if not self.over:
            self.another_runner_takes_over()
        endless = [RequestedToolCall(call_id="", tool="pure", arguments="{}")]
        for _ in range(4 * self.most_rounds + 8):
            if self.over:
                break
            self.the_runner_acts(endless, dies=False)
        assert self.over, [step.kind for step in self.steps]
        assert len(only(self.steps, RunFinished)) == 1


RunMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestRunMachine = RunMachine.TestCase
