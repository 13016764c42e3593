"""Runs that wait without holding a runner: for a person, or for a run that answers one of their calls."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.asked_runs import child_run_id
from shared.run_state import fold
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentResponse,
    AgentSnapshot,
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    Effect,
    HistoryPart,
    OutcomeResolved,
    RunClaimed,
    RunFinished,
    RunRetried,
    RunStatus,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from shared.subjects import RunKey
from tests.support.processes import ServiceProcess
from tests.support.runner_field import Field, field_at
from tests.support.runs import ALL_TOOLS
from tests.support.steps import new_key, only, requested, tool_spec
from tests.support.waiting import eventually

HELPER = AgentSnapshot(ref=AgentRef(name="helper", version=3), model="mistral-small-latest", tools=ALL_TOOLS)
SETTINGS: dict[str, Any] = {"agent": "helper", "version": 3}
PROMPT: dict[str, Any] = {
    "type": "object",
    "properties": {"prompt": {"type": "string"}},
    "required": ["prompt"],
}
REASON: dict[str, Any] = {"type": "object", "properties": {"reason": {"type": "string"}}}
ASK = ToolSpec(
    name="ask_helper",
    description="Asks the helper.",
    parameters=PROMPT,
    effect=Effect.IDEMPOTENT,
    source="agent",
    settings=SETTINGS,
)
HAND_OVER = ToolSpec(
    name="handoff_to_helper",
    description="Hands over.",
    parameters=REASON,
    effect=Effect.PURE,
    source="handoff",
    settings=SETTINGS,
)
CAREFUL = (tool_spec("irreversible", Effect.IRREVERSIBLE).model_copy(update={"needs_approval": True}),)


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as made:
        yield made


async def _is_idle(runner: ServiceProcess) -> bool:
    return await runner.metric("studio_active_runs") == 0


async def asked(field: Field, **plan: Any) -> tuple[RunKey, ApprovalRequested]:
    """A run that waits for a decision about its call, and the question."""
    key = await field.send_with({"tools": CAREFUL}, tool="irreversible", rounds=1, **plan)
    assert (await field.waiting(key)).reason == "approval"
    [question] = only(await field.steps(key), ApprovalRequested)
    return key, question


async def decide(field: Field, key: RunKey, question: ApprovalRequested, decision: str, **more: Any) -> None:
    said = {"call_id": question.call_id, "arguments_hash": question.arguments_hash, "who": "user"}
    await field.append(key, ApprovalResolved, **said, decision=decision, **more)


async def test_a_run_that_waits_for_a_decision_holds_no_runner_and_acts_once_allowed(field: Field) -> None:
    runner = await field.runner()
    key, question = await asked(field)
    await eventually(lambda: _is_idle(runner))
    await eventually(field.acknowledged)
    assert field.notes("act") == []
    assert only(await field.steps(key), ToolCall) == []
    await decide(field, key, question, "approved")
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert field.notes("act") == [f"act irreversible {key.run_id}:{question.call_id}"]


async def test_an_allowed_call_is_made_with_the_arguments_of_the_decision(field: Field) -> None:
    await field.runner()
    key, question = await asked(field)
    await decide(field, key, question, "approved", arguments={"seconds": 0.25})
    await field.finished(key)
    [intent] = only(await field.steps(key), ToolCall)
    assert intent.arguments == {"seconds": 0.25}


@pytest.mark.parametrize(("decision", "told"), [("denied", "Not today."), ("expired", "in time")])
async def test_a_call_that_is_not_allowed_is_told_to_the_model(
    field: Field, decision: str, told: str
) -> None:
    await field.runner()
    key, question = await asked(field)
    await decide(field, key, question, decision, note="Not today.")
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    [result] = only(await field.steps(key), ToolResult)
    assert (result.status, told in str(result.result)) == ("denied", True)
    assert field.notes("act") == []


async def test_many_waits_of_a_run_do_not_count_as_tries(field: Field) -> None:
    await field.runner(RUNNER_MAX_ATTEMPTS="2")
    key = await field.send_with({"tools": CAREFUL}, tool="irreversible", rounds=4)
    for number in range(4):

        async def question() -> ApprovalRequested | None:
            steps = await field.steps(key)
            waits = fold(steps).status is RunStatus.WAITING
            questions = only(steps, ApprovalRequested)
            return questions[-1] if waits and len(questions) == number + 1 else None  # noqa: B023 - awaited here

        await decide(field, key, await eventually(question), "approved")
    assert (await field.finished(key)).status == RunStatus.COMPLETED


async def test_a_decision_reaches_a_run_whose_runner_was_killed_meanwhile(field: Field) -> None:
    first = await field.runner()
    key, question = await asked(field)
    first.signal(signal.SIGKILL)
    await decide(field, key, question, "approved")
    await field.runner()
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert len(field.notes("act")) == 1


@pytest.mark.parametrize(
    ("decision", "status", "acts"),
    [("happened", "completed", 1), ("did-not-happen", "completed", 2), ("fail", "failed", 1)],
)
async def test_a_runner_killed_in_an_irreversible_call_leaves_a_question_to_a_person(
    field: Field, decision: str, status: str, acts: int
) -> None:
    first = await field.runner()
    key = await field.send(tool="irreversible", rounds=1, tool_s=0.8)
    await eventually(lambda: field.notes("act"))
    first.signal(signal.SIGKILL)
    await field.runner()
    waiting = await field.waiting(key)
    assert waiting.reason == "unknown-outcome"
    fields = {"call_id": waiting.call_id, "decision": decision, "who": "user", "result": "noted"}
    await field.append(key, OutcomeResolved, **fields)
    assert (await field.finished(key)).status == status
    assert field.notes("act") == [f"act irreversible {key.run_id}:{waiting.call_id}"] * acts


async def test_a_call_of_another_agent_is_a_run_of_its_own_whose_answer_is_the_result(field: Field) -> None:
    runner = await field.runner()
    plan = json.dumps(
        {"name": "child", "rounds": 1, "tool": "pure", "model_s": 0.4, "answers": ["Forty-two."]}
    )
    snapshot = {"tools": (ASK,), "agents": (HELPER,), "group": "trees"}
    key = await field.send_with(snapshot, tool="ask_helper", rounds=1, arguments={"prompt": plan})
    assert (await field.waiting(key)).reason == "child-run"
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    [call] = only(await field.steps(key), ToolCall)
    child = RunKey(key.project, child_run_id(call))
    steps = await field.steps(child)
    request = fold(steps).request
    assert request is not None
    assert (request.parent_run_id, request.parent_call_id, request.root_run_id) == (
        key.run_id,
        call.call_id,
        key.run_id,
    )
    assert (request.agent, request.model, request.group) == (HELPER.ref, HELPER.model, "trees")
    [result] = only(await field.steps(key), ToolResult)
    assert (result.status, result.result) == ("ok", "Forty-two.")
    assert len(field.notes("model child mistral-small-latest")) == 2
    await eventually(lambda: _is_idle(runner))


async def test_a_tree_of_runs_survives_a_killed_runner(field: Field) -> None:
    first = await field.runner()
    plan = json.dumps({"name": "child", "rounds": 1, "tool": "idempotent", "tool_s": 0.5})
    snapshot = {"tools": (ASK,), "agents": (HELPER,)}
    key = await field.send_with(snapshot, tool="ask_helper", rounds=1, arguments={"prompt": plan})
    await eventually(lambda: field.notes("act idempotent"))
    first.signal(signal.SIGKILL)
    await field.runner()
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert len(set(field.notes("act idempotent"))) == 1


async def test_cancelling_a_run_ends_the_runs_that_it_asked_for(field: Field) -> None:
    await field.runner()
    plan = json.dumps({"name": "child", "rounds": 1, "tool": "pure", "model_s": 20})
    snapshot = {"tools": (ASK,), "agents": (HELPER,)}
    key = await field.send_with(snapshot, tool="ask_helper", rounds=1, arguments={"prompt": plan})
    await eventually(lambda: field.notes("model child"))
    await field.waiting(key)
    await field.cancel(key)
    await field.log.requeue(key, cause="cancel")
    assert (await field.finished(key)).status == RunStatus.CANCELLED
    [call] = only(await field.steps(key), ToolCall)
    assert (await field.finished(RunKey(key.project, child_run_id(call)))).status == RunStatus.CANCELLED


async def test_a_child_that_fails_is_a_failed_call(field: Field) -> None:
    await field.runner()
    plan = json.dumps({"name": "child", "rounds": 9, "tool": "pure"})
    snapshot = {"tools": (ASK.model_copy(update={"settings": {**SETTINGS, "limits": {"max_rounds": 1}}}),)}
    key = await field.send_with(
        {**snapshot, "agents": (HELPER,)}, tool="ask_helper", rounds=1, arguments={"prompt": plan}
    )
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    [result] = only(await field.steps(key), ToolResult)
    assert (result.status, "max_rounds" in str(result.result)) == ("error", True)


async def test_a_handoff_lets_another_agent_go_on_with_the_conversation(field: Field) -> None:
    await field.runner()
    snapshot = {"tools": (HAND_OVER,), "agents": (HELPER,)}
    key = await field.send_with(snapshot, tool="handoff_to_helper", rounds=1, arguments={"reason": "bills"})
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    steps = await field.steps(key)
    assert [step.agent for step in only(steps, AgentChanged)] == [HELPER.ref]
    assert [note.split()[-1] for note in field.notes("model")] == ["mistral-large-latest", HELPER.model]


@pytest.mark.parametrize(
    ("answers", "status", "rejected"),
    [
        (['{"total": 45}'], "completed", 0),
        (["forty-five", '{"total": 45}'], "completed", 1),
        (['{"total": "45"}'], "failed", 1),
    ],
)
async def test_an_answer_is_held_against_its_schema_and_may_be_mended_once(
    field: Field, answers: list[str], status: str, rejected: int
) -> None:
    await field.runner()
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    key = await field.send_with({"response_format": schema}, rounds=0, answers=answers)
    end = await field.finished(key)
    steps = await field.steps(key)
    assert (end.status, len(only(steps, AnswerRejected))) == (status, rejected)
    if end.error is not None:
        assert end.error.type == "invalid-answer"
        assert "total" in end.error.message


async def test_a_failed_run_goes_on_from_its_last_good_step_when_it_is_retried(field: Field) -> None:
    await field.runner()
    key = await field.send_with({"max_rounds": 1}, tool="idempotent", rounds=2)
    failed = await field.finished(key)
    assert failed.error is not None
    assert failed.error.type == "max-rounds"
    await field.append(key, RunRetried, who="user")

    async def has_completed() -> bool:
        return fold(await field.steps(key)).status is RunStatus.COMPLETED

    await eventually(has_completed)
    steps = await field.steps(key)
    assert [end.status for end in only(steps, RunFinished)] == [RunStatus.FAILED, RunStatus.COMPLETED]
    assert len(only(steps, AgentResponse)) == 1


async def test_a_run_of_a_session_waits_for_the_one_before_and_knows_what_was_said(field: Field) -> None:
    await field.runner()
    first = await field.send(rounds=0, model_s=0.6, answers=["I am the first."])
    after = {"history": (HistoryPart(run_id=first.run_id),), "after_run_id": first.run_id}
    second = await field.send_with(after, rounds=0)
    assert (await field.finished(second)).status == RunStatus.COMPLETED
    ended = (await field.finished(first)).at
    claim = only(await field.steps(second), RunClaimed)[0]
    assert claim.at >= ended
    [answer] = only(await field.steps(second), AgentResponse)
    assert answer.model_call.usage.input == 30  # ten for each of: question and answer before, question now


async def test_a_run_of_a_session_waits_for_one_that_the_broker_does_not_have_yet(field: Field) -> None:
    await field.runner()
    first = new_key()
    after = {"history": (HistoryPart(run_id=first.run_id),), "after_run_id": first.run_id}
    second, cancelled = await field.send_with(after, rounds=0), await field.send_with(after, rounds=0)
    await field.cancel(cancelled)
    assert (await field.finished(cancelled)).status == RunStatus.CANCELLED
    assert only(await field.steps(second), RunClaimed) == []
    prompt = json.dumps({"name": first.run_id, "rounds": 0})
    await field.log.request(first, field.log.seal([requested(first, prompt=prompt)]))
    assert (await field.finished(second)).status == RunStatus.COMPLETED
    assert only(await field.steps(second), RunClaimed)[0].at >= (await field.finished(first)).at


async def test_a_run_of_a_session_goes_on_without_one_that_the_broker_has_forgotten(field: Field) -> None:
    await field.runner()
    forgotten = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"  # its id tells that it is of 2024
    key = await field.send_with({"history": (HistoryPart(run_id=forgotten),)}, rounds=0)
    assert (await field.finished(key)).status == RunStatus.COMPLETED


async def test_a_tree_of_runs_has_a_bound(field: Field) -> None:
    await field.runner()
    leaf = json.dumps({"name": "leaf", "rounds": 0})
    plan = json.dumps({"tool": "ask_helper", "rounds": 1, "calls": 5, "arguments": {"prompt": leaf}})
    helper = HELPER.model_copy(update={"tools": (ASK,)})
    snapshot = {"tools": (ASK,), "agents": (helper,), "most_runs": 12}
    key = await field.send_with(snapshot, tool="ask_helper", rounds=1, calls=3, arguments={"prompt": plan})
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    state = fold(await field.steps(key))
    assert (state.runs, state.runs_left) == (11, 0)
    assert len(field.notes("model leaf")) == 8
