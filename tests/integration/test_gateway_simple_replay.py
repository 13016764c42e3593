"""`POST /replay`: one run once more, carried out by the real replayer, and the difference of the answers."""

from collections.abc import AsyncIterator

import pytest

from services.gateway import examples
from services.gateway.examples import ANSWERS, REPLAY, REPLAY_ID
from services.gateway.openapi.problem_examples import PROBLEMS
from shared.bus import WORK
from shared.messages import ReplayRequested
from shared.replay_results import Trouble
from shared.steps import AgentResponse, RunRequested
from shared.stored import stored_messages
from shared.subjects import RunKey
from tests.support.fake_runner import Batches, FakeRunner, answer, running_fake_runner
from tests.support.gateway import Gateway, running_gateway
from tests.support.replay_rows import taken_up
from tests.support.replayer import playing, replayers
from tests.support.replaying import all_told, played


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


def tells_temperature(key: RunKey, request: RunRequested) -> Batches:
    begin, end = answer(key, request)
    said = f"At {request.parameters.temperature:g} it is 15."
    return [
        begin,
        [
            step.model_copy(update={"content": said}) if isinstance(step, AgentResponse) else step
            for step in end
        ],
    ]


async def test_a_run_is_replayed_in_the_shortest_form(
    gateway: Gateway, runner: FakeRunner, nats_url: str, database_url: str
) -> None:
    runner.default = tells_temperature
    run = await played(gateway)
    asked = {**examples.SIMPLE_REPLAY_INPUT["cold"].value, "run_id": run.run_id}
    async with replayers(nats_url, database_url):
        given = (await gateway.http.post("/replay", json=asked)).json()
    replayed = (await gateway.http.get(f"/api/runs/{given['new_run_id']}")).json()["replay"]
    assert (replayed["mode"], replayed["source_run_id"]) == ("rerun", run.run_id)
    assert given == {
        "diff_id": given["diff_id"],
        "run_id": run.run_id,
        "new_run_id": given["new_run_id"],
        "original_response": "The result is 15.",
        "new_response": "At 0 it is 15.",
        "diff": "--- original\n+++ replayed\n@@ -1 +1 @@\n-The result is 15.\n+At 0 it is 15.",
    }
    assert given.keys() == ANSWERS["simple-replay"].value.keys()
    shown = (await gateway.http.get(f"/api/replays/{replayed['replay_id']}")).json()
    assert shown["order"]["arms"][0]["changes"]["parameters"]["random_seed"] == 0
    assert shown["diff"]["right"]["run_id"] == given["new_run_id"]


async def orders(gateway: Gateway) -> list[ReplayRequested]:
    stored = stored_messages(gateway.nats, WORK, "work.replay.default.*")
    return [ReplayRequested.model_validate_json(message.data) async for message in stored]


async def test_a_replay_in_the_shortest_form_that_goes_on_or_comes_to_nothing_is_told(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, key = await played(gateway), {"Idempotency-Key": "once"}
    with monkeypatch.context() as patch:
        patch.setattr("services.gateway.routes.simple.ANSWER_S", 0.2)
        late = await gateway.http.post("/replay", json={"run_id": run.run_id}, headers=key)
    assert late.status_code == 504
    assert late.json()["detail"].startswith(PROBLEMS["replay-unfinished"].detail.removesuffix(REPLAY_ID))
    [order] = await orders(gateway)
    trouble = Trouble(type="no-prices", message="nobody can say why")
    fields = {"replay_id": order.replay_id, "order": order, "status": "failed", "error": trouble}
    await taken_up(gateway.database, REPLAY.model_copy(update={**fields, "items": (), "diff": None}))
    failed = await gateway.http.post("/replay", json={"run_id": run.run_id}, headers=key)
    assert failed.status_code == 502
    assert failed.json()["detail"] == "the replay ended as failed before it had a run: nobody can say why"


async def test_a_replay_in_the_shortest_form_whose_run_fails_says_why(
    gateway: Gateway, runner: FakeRunner, nats_url: str, database_url: str
) -> None:
    runner.default = playing(lambda plan: (False, 15))
    run, key = await played(gateway), {"Idempotency-Key": "once"}
    async with replayers(nats_url, database_url):
        failed = await gateway.http.post("/replay", json={"run_id": run.run_id}, headers=key)
    assert (failed.status_code, failed.json()["type"].rpartition(":")[2]) == (502, "run-failed")
    assert await all_told(gateway) == 1
