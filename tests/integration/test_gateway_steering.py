"""Runs that wait for a person: shown, decided about once, expired, retried; and trees of runs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.gateway.examples import ANSWERS, RUN_ID
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.waiting.examples import ARGUMENTS, CALL_ID, DENY, EDIT, HASH
from shared.bus import CATALOG, RUNS, jetstream
from shared.catalog import Tool, Tools
from shared.run_log import AGAIN_HEADER, RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.steps import (
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    Effect,
    OutcomeResolved,
    RunFinished,
    RunRequested,
    RunRetried,
    RunWaiting,
    Step,
    ToolCall,
    UserRequest,
    now,
)
from shared.stored import stored_messages
from shared.subjects import RunKey, catalog_subject, job_subject
from tests.support.events import following, steps_until_end
from tests.support.fake_runner import MODELS, Batches, FakeRunner, announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import call, claimed, make, model_call, new_key, only, requested
from tests.support.waiting import eventually

TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"to": TEXT, "text": TEXT},
    "required": ["to", "text"],
}
MAIL = Tool(
    name="send_mail", display_name="Mail", description="Sends a mail.", needs_approval=True, parameters=SCHEMA
)
WANTED = call("send_mail", call_id=CALL_ID)
OF_TIME = {"since", "asked_at"}


def asks(key: RunKey, request: RunRequested) -> Batches:
    """A call that needs a decision; the question of a prompt that says so has expired already."""
    expires_at = now() - timedelta(seconds=1) if "late" in str(request.prompt) else None
    question = {"call_id": CALL_ID, "tool": "send_mail", "arguments": ARGUMENTS, "arguments_hash": HASH}
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [
            make(
                AgentThought,
                key,
                3,
                tool_calls=(call("send_mail", call_id=CALL_ID),),
                model_call=model_call(),
            ),
            make(ApprovalRequested, key, 4, **question, expires_at=expires_at),
        ],
        [make(RunWaiting, key, 5, reason="approval", call_id=CALL_ID, until=expires_at)],
    ]


def dies(key: RunKey, request: RunRequested) -> Batches:
    """A call of which nobody knows whether it was made."""
    intent = {"call_id": CALL_ID, "tool": "send_mail", "arguments": ARGUMENTS, "idempotency_key": "k"}
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [
            make(
                AgentThought,
                key,
                3,
                tool_calls=(call("send_mail", call_id=CALL_ID),),
                model_call=model_call(),
            ),
            make(ToolCall, key, 4, **intent, effect=Effect.IRREVERSIBLE),
        ],
        [claimed(key, 5, attempt=2), make(RunWaiting, key, 6, reason="unknown-outcome", call_id=CALL_ID)],
    ]


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_url, database_url) as running,
        projecting(running.nats, running.database),
    ):
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        serving.scripts |= {"ask": asks, "die": dies}
        tools = Tools(tools=(MAIL,)).model_dump_json().encode()
        await jetstream(gateway.nats).publish(catalog_subject("tools"), tools, stream=CATALOG)
        yield serving


async def waiting(gateway: Gateway, prompt: str, **fields: Any) -> str:
    """The id of a run that waits, once the list shows it."""
    run_id: str = (await gateway.http.post("/api/runs", json={"prompt": prompt, **fields})).json()["run_id"]

    async def is_shown() -> bool:
        listed = (await gateway.http.get("/api/waiting")).json()["items"]
        return run_id in [each["run_id"] for each in listed]

    await eventually(is_shown)
    return run_id


async def steps_of(gateway: Gateway, run_id: str) -> list[Step]:
    return list((await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))).steps)


async def times_queued(gateway: Gateway, run_id: str) -> int:
    """How often the job was put back into the queue."""
    jobs = stored_messages(gateway.nats, RUNS, job_subject(RunKey("default", run_id)))
    return sum(AGAIN_HEADER in (job.headers or {}) for job in [job async for job in jobs])


def without_times(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: without_times(item) for name, item in value.items() if name not in {"since", "asked_at"}
            }
        case list():
            return [without_times(item) for item in value]
    return value


async def test_what_waits_is_listed_as_in_the_example(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    listed = (await gateway.http.get("/api/waiting")).json()
    shown = without_times(ANSWERS["waiting-list"].value)
    shown["items"][0]["run_id"] = run_id
    assert without_times(listed) == shown
    view = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert (view["status"], view["waiting_reason"]) == ("waiting", "approval")


async def test_a_decision_is_written_once_and_wakes_the_run(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    path = f"/api/runs/{run_id}/approvals/{CALL_ID}"
    answer = await gateway.http.post(path, json=EDIT)
    assert answer.status_code == 202
    assert answer.json() == {**ANSWERS["decided"].value, "run_id": run_id}
    [resolved] = only(await steps_of(gateway, run_id), ApprovalResolved)
    assert (resolved.decision, resolved.arguments) == ("approved", EDIT["arguments"])
    assert resolved.who.startswith("key test ")
    assert await times_queued(gateway, run_id) == 1
    again = await gateway.http.post(path, json=DENY)
    expected = PROBLEMS["call-decided"]
    assert (again.status_code, again.json()["type"]) == (409, expected.kind.uri)
    assert len(only(await steps_of(gateway, run_id), ApprovalResolved)) == 1


async def test_of_many_decisions_at_once_one_counts(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    path = f"/api/runs/{run_id}/approvals/{CALL_ID}"
    answers = await asyncio.gather(*(gateway.http.post(path, json=DENY) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 9]
    assert len(only(await steps_of(gateway, run_id), ApprovalResolved)) == 1


@pytest.mark.parametrize(
    ("name", "call_id", "said"),
    [
        ("no-such-call", "another", DENY),
        ("other-arguments", CALL_ID, {**DENY, "arguments_hash": "0" * 64}),
        ("bad-arguments", CALL_ID, {**EDIT, "arguments": {"to": "all@example.com"}}),
    ],
)
async def test_a_decision_that_cannot_be_taken_changes_nothing(
    gateway: Gateway, runner: FakeRunner, name: str, call_id: str, said: dict[str, Any]
) -> None:
    run_id = await waiting(gateway, "ask", tools=["send_mail"])
    before = await steps_of(gateway, run_id)
    answer = await gateway.http.post(f"/api/runs/{run_id}/approvals/{call_id}", json=said)
    assert (answer.status_code, answer.json()["type"]) == (
        PROBLEMS[name].kind.status,
        PROBLEMS[name].kind.uri,
    )
    assert await steps_of(gateway, run_id) == before


async def test_a_question_that_nobody_answers_expires(gateway: Gateway, runner: FakeRunner) -> None:
    answer = await gateway.http.post("/api/runs", json={"prompt": "ask late"})
    run_id = answer.json()["run_id"]

    async def is_resolved() -> bool:
        return bool(only(await steps_of(gateway, run_id), ApprovalResolved))

    await eventually(is_resolved)
    [resolved] = only(await steps_of(gateway, run_id), ApprovalResolved)
    assert resolved.decision == "expired"

    async def is_queued() -> bool:
        return await times_queued(gateway, run_id) >= 1

    await eventually(is_queued)


async def test_the_outcome_of_a_call_is_told_once(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "die")
    path = f"/api/runs/{run_id}/outcomes/{CALL_ID}"
    said = {"decision": "happened", "result": {"message_id": "m-17"}}
    assert (await gateway.http.post(path, json=said)).status_code == 202
    [outcome] = only(await steps_of(gateway, run_id), OutcomeResolved)
    assert (outcome.decision, outcome.result) == ("happened", {"message_id": "m-17"})
    assert await times_queued(gateway, run_id) == 1
    assert (await gateway.http.post(path, json=said)).status_code == 409
    other = await gateway.http.post(f"/api/runs/{run_id}/outcomes/another", json=said)
    assert other.json()["type"] == PROBLEMS["no-outcome-wanted"].kind.uri


async def test_a_failed_run_is_retried_and_a_completed_one_is_not(
    gateway: Gateway, runner: FakeRunner
) -> None:
    failed = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "fail"})).json()["run_id"]
    answer = await gateway.http.post(f"/api/runs/{failed}/retry", json={"why": "again"})
    assert (answer.status_code, answer.json()) == (202, {**ANSWERS["retried"].value, "run_id": failed})
    steps = await steps_of(gateway, failed)
    assert only(steps, RunRetried)[0].why == "again"
    assert fold(steps).status == "queued"
    assert await times_queued(gateway, failed) == 1
    completed = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "hi"})).json()["run_id"]
    held = await waiting(gateway, "ask")
    for name, run_id in {"retry-completed": completed, "retry-active": held}.items():
        refused = await gateway.http.post(f"/api/runs/{run_id}/retry")
        assert (refused.status_code, refused.json()["detail"]) == (409, PROBLEMS[name].detail), name
    resumed = await gateway.http.post(f"/api/runs/{completed}/resume")
    assert (resumed.status_code, resumed.json()["detail"]) == (409, PROBLEMS["run-not-waiting"].detail)
    assert (await gateway.http.post(f"/api/runs/{held}/resume")).status_code == 202


async def test_the_events_of_a_retried_run_go_on_behind_its_first_end(
    gateway: Gateway, runner: FakeRunner
) -> None:
    run_id = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "fail"})).json()["run_id"]
    await gateway.http.post(f"/api/runs/{run_id}/retry")
    key, log = RunKey("default", run_id), RunLog(gateway.nats, Scrubber())
    sequence = (await log.read(key)).sequence
    async with asyncio.timeout(20), following(gateway.http, run_id) as events:
        seen = [int((await anext(events)).id or -1) for _ in range(4)]
        again: list[Step] = [
            claimed(key, 4, attempt=2),
            make(RunFinished, key, 5, status="completed", attempt=2),
        ]
        await log.append(key, log.seal(again), sequence)
        seen += await steps_until_end(events)
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_a_cancelled_run_that_waits_is_woken_to_end(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    assert (await gateway.http.post(f"/api/runs/{run_id}/cancel")).status_code == 202
    assert await times_queued(gateway, run_id) == 1


async def test_a_decision_whose_gateway_stopped_before_it_woke_the_run_wakes_it_later(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.clock.UNWOKEN_FOR", timedelta())
    run_id = await waiting(gateway, "ask")
    key, log = RunKey("default", run_id), RunLog(gateway.nats, Scrubber())
    read = await log.read(key)
    said = {"call_id": CALL_ID, "decision": "approved", "arguments_hash": HASH, "who": "somebody"}
    await log.append(key, log.seal([make(ApprovalResolved, key, 6, **said, at=now())]), read.sequence)

    async def is_queued() -> bool:
        return await times_queued(gateway, run_id) >= 1

    await eventually(is_queued)


async def test_another_projects_waiting_runs_do_not_exist(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    assert (await gateway.http.get("/api/waiting", headers=stranger)).json()["items"] == []
    path = f"/api/runs/{run_id}/approvals/{CALL_ID}"
    assert (await gateway.http.post(path, json=DENY, headers=stranger)).status_code == 404


async def test_a_tree_adds_up_its_runs_as_in_the_example(gateway: Gateway, runner: FakeRunner) -> None:
    root = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "hi"})).json()["run_id"]
    key = RunKey("default", root)
    log = RunLog(gateway.nats, Scrubber())
    child = RunKey("default", new_key().run_id)
    job = (await log.read(key)).steps[0]
    below = {"run_id": child.run_id, "parent_run_id": root, "parent_call_id": CALL_ID, "root_run_id": root}
    await log.request(child, log.seal([job.model_copy(update=below)]))

    async def is_whole() -> bool:
        tree = (await gateway.http.get(f"/api/runs/{root}/tree")).json()
        return tree.get("runs") == 2 and tree["total_cost_usd"] is not None and tree["total_tokens"] == 30

    await eventually(is_whole)
    tree = (await gateway.http.get(f"/api/runs/{child.run_id}/tree")).json()
    assert tree["root"]["run_id"] == root
    assert [each["run_id"] for each in tree["root"]["children"]] == [child.run_id]
    assert tree.keys() == ANSWERS["tree"].value.keys()


def spends(key: RunKey, request: RunRequested) -> Batches:
    """A run that has used up its budget."""
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [make(RunWaiting, key, 3, reason="budget", why="nothing is left")],
    ]


async def test_a_used_up_budget_is_shown_and_can_only_be_raised(gateway: Gateway, runner: FakeRunner) -> None:
    runner.scripts |= {"spend": spends}
    run_id = await waiting(gateway, "spend it", budget_usd=0.5)
    [shown] = (await gateway.http.get("/api/waiting")).json()["items"]
    assert (shown["reason"], shown["why"], shown["calls"]) == ("budget", "nothing is left", [])
    there = f"/api/runs/{run_id}/resume"
    refused = await gateway.http.post(there, json={"budget_usd": 0.5})
    assert (refused.status_code, refused.json()["detail"]) == (422, PROBLEMS["budget-not-higher"].detail)
    raised = await gateway.http.post(there, json={"budget_usd": 0.75})
    assert (raised.status_code, raised.json()["status"]) == (202, "waiting")
    state = fold(await steps_of(gateway, run_id))
    assert state.ledger is not None
    assert state.ledger.cap == Decimal("0.75")
    assert await times_queued(gateway, run_id) == 1


async def test_a_run_without_a_budget_gets_none_by_resuming(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await waiting(gateway, "ask")
    refused = await gateway.http.post(f"/api/runs/{run_id}/resume", json={"budget_usd": 1.0})
    assert (refused.status_code, "has no budget" in refused.text) == (422, True)
    assert await times_queued(gateway, run_id) == 0


async def test_runs_that_answer_another_run_are_steered_by_that_one(
    gateway: Gateway, runner: FakeRunner
) -> None:
    log, parent = RunLog(gateway.nats, Scrubber()), new_key()
    for status, path, body in (("failed", "retry", {}), ("waiting", "resume", {"budget_usd": 1.0})):
        child = new_key()
        request = requested(
            child, budget_usd=0.1, parent_run_id=parent.run_id, root_run_id=parent.run_id, prompt="hold"
        )
        await log.request(child, log.seal([request]))
        await eventually(lambda: steps_of(gateway, child.run_id))  # noqa: B023 - awaited here
        end = (
            make(RunFinished, child, 2, status="failed")
            if status == "failed"
            else make(RunWaiting, child, 2, reason="approval")
        )
        await eventually(lambda: _appended(log, child, end))  # noqa: B023 - awaited here
        refused = await gateway.http.post(f"/api/runs/{child.run_id}/{path}", json=body)
        assert parent.run_id in refused.json()["detail"]
        if path == "retry":
            expected = PROBLEMS["retry-child"]
            assert refused.status_code == expected.kind.status
            assert refused.json()["detail"].replace(parent.run_id, RUN_ID) == expected.detail


async def _appended(log: RunLog, run: RunKey, step: Step) -> bool:
    """Once the runner has claimed the run."""
    read = await log.read(run)
    if len(read.steps) < step.seq:
        return False
    await log.append(run, log.seal([step]), read.sequence)
    return True


async def test_a_budget_brings_the_prices_of_all_models_that_the_run_may_call(
    gateway: Gateway, runner: FakeRunner
) -> None:
    small = {"name": "helper", "model": "mistral-small-latest", "instructions": "Help."}
    assert (await gateway.http.post("/api/agents", json=small)).status_code == 201
    front = {"name": "front", "agents": ["helper"], "limits": {"budget_usd": 0.25}}
    assert (await gateway.http.post("/api/agents", json=front)).status_code == 201
    answer = await gateway.http.post("/api/runs", json={"prompt": "hold", "agent": "front"})
    request = fold(await steps_of(gateway, answer.json()["run_id"])).request
    assert request is not None
    assert (request.budget_usd, set(request.rates)) == (0.25, set(MODELS))
    free = await gateway.http.post("/api/runs", json={"prompt": "hold"})
    request = fold(await steps_of(gateway, free.json()["run_id"])).request
    assert request is not None
    assert (request.budget_usd, request.rates) == (None, {})


async def test_a_model_without_a_price_can_have_no_budget(gateway: Gateway, runner: FakeRunner) -> None:
    await announce(gateway.nats, models=["home-made"])
    asked = {"prompt": "hi", "model": "home-made", "budget_usd": 0.1}

    async def is_known() -> bool:
        answer = await gateway.http.post("/api/runs", json={**asked, "budget_usd": None})
        return answer.status_code == 202

    await eventually(is_known)
    refused = await gateway.http.post("/api/runs", json=asked)
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["field"] == "budget_usd"
    assert "does not know the model 'home-made'" in error["message"]
