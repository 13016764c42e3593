"""Real runners and forgotten runs: what was put back goes on as if nothing had been."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.asked_runs import child_run_id
from shared.step_codec import encode_steps
from shared.steps import (
    AgentRef,
    AgentResponse,
    AgentSnapshot,
    ApprovalRequested,
    Effect,
    HistoryPart,
    RunRequested,
    RunStatus,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from shared.subjects import RunKey
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.retention import aged_id, forget, forget_bodies
from tests.support.runner_field import Field, field_at
from tests.support.steps import only, requested, tool_spec
from tests.support.waiting import eventually

CAREFUL = (tool_spec("irreversible", Effect.IRREVERSIBLE).model_copy(update={"needs_approval": True}),)
HELPER = AgentSnapshot(ref=AgentRef(name="helper", version=3), model="mistral-small-latest", tools=CAREFUL)
ASK = ToolSpec(
    name="ask_helper",
    description="Asks the helper.",
    parameters={"type": "object", "properties": {"prompt": {"type": "string"}}},
    effect=Effect.IDEMPOTENT,
    source="agent",
    settings={"agent": "helper", "version": 3},
)


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as made:
        await made.runner()
        yield made


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_url, database_url) as running,
        projecting(running.nats, running.database),
    ):
        yield running


async def request(field: Field, key: RunKey, **fields: Any) -> None:
    """As one whose turn in the queue came late: a runner takes no other job that is so old."""
    sealed = field.log.seal([requested(key, **fields)])
    await field.log.requeue(key, cause="queued", job=encode_steps(sealed.steps))


async def is_recorded(gateway: Gateway, key: RunKey, count: int) -> bool:
    statement = "SELECT count(*) FROM steps WHERE run_id = $1"
    async with gateway.database.connection() as connection:
        return bool(await connection.fetchval(statement, key.run_id) == count)


async def forgotten(gateway: Gateway, field: Field, *keys: RunKey) -> None:
    """Once no runner has their jobs, and all of them is recorded, the broker forgets the runs."""
    await eventually(field.acknowledged)
    for key in keys:
        count = len(await field.steps(key))
        await eventually(lambda: is_recorded(gateway, key, count))  # noqa: B023 - awaited here
        await forget(gateway.nats, key)
    await forget_bodies(gateway.nats)


async def approve(gateway: Gateway, key: RunKey, question: ApprovalRequested) -> None:
    path = f"/api/runs/{key.run_id}/approvals/{question.call_id}"
    said = {"decision": "approve", "arguments_hash": question.arguments_hash}
    answer = await gateway.http.post(path, json=said)
    assert answer.status_code == 202, answer.text


async def test_a_forgotten_run_goes_on_once_a_person_has_decided_and_acts_once(
    gateway: Gateway, field: Field
) -> None:
    key = RunKey("default", aged_id())
    plan = json.dumps({"name": key.run_id, "tool": "irreversible", "rounds": 1})
    await request(field, key, prompt=plan, tools=CAREFUL)
    await field.waiting(key)
    before = await field.steps(key)
    await forgotten(gateway, field, key)
    await approve(gateway, key, only(before, ApprovalRequested)[0])
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert (await field.steps(key))[: len(before)] == before
    assert len(field.notes("act irreversible")) == 1
    assert len(field.notes("model")) == 2
    await eventually(field.acknowledged)


async def test_a_forgotten_parent_goes_on_when_its_forgotten_child_has_been_decided_about(
    gateway: Gateway, field: Field
) -> None:
    key = RunKey("default", aged_id())
    below = json.dumps({"name": "child", "tool": "irreversible", "rounds": 1, "answers": ["Forty-two."]})
    plan = {"name": key.run_id, "tool": "ask_helper", "rounds": 1, "arguments": {"prompt": below}}
    await request(field, key, prompt=json.dumps(plan), tools=(ASK,), agents=(HELPER,))
    assert (await field.waiting(key)).reason == "child-run"
    child = RunKey(key.project, child_run_id(only(await field.steps(key), ToolCall)[0]))
    await field.waiting(child)
    [question] = only(await field.steps(child), ApprovalRequested)
    await forgotten(gateway, field, key, child)
    await approve(gateway, child, question)
    assert (await field.finished(child)).status == RunStatus.COMPLETED
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert [result.result for result in only(await field.steps(key), ToolResult)] == ["Forty-two."]
    assert len(field.notes("act irreversible")) == 1
    await eventually(field.acknowledged)


async def test_a_run_of_a_session_waits_for_a_forgotten_one_and_knows_what_was_said(
    gateway: Gateway, field: Field
) -> None:
    key = RunKey("default", aged_id())
    plan = json.dumps({"name": key.run_id, "tool": "irreversible", "rounds": 1})
    await request(field, key, prompt=plan, tools=CAREFUL, session_id="s")
    await field.waiting(key)
    [question] = only(await field.steps(key), ApprovalRequested)
    await forgotten(gateway, field, key)
    asked = {"prompt": json.dumps({"name": "next", "rounds": 0}), "session_id": "s", "tools": []}

    async def accepted() -> str | None:  # once the runner has told which tools and models there are
        answer = await gateway.http.post("/api/runs", json=asked)
        return answer.json()["run_id"] if answer.status_code == 202 else None

    behind = RunKey("default", await eventually(accepted))
    [step] = only(await field.steps(behind), RunRequested)
    assert step.history == (HistoryPart(run_id=key.run_id),)
    await approve(gateway, key, question)
    assert (await field.finished(behind)).at > (await field.finished(key)).at
    [answer] = only(await field.steps(behind), AgentResponse)
    assert answer.model_call.usage.input > 30  # ten for each message
