"""Two runs compared over HTTP: from the log or from Postgres, with their large values, within bounds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from threading import Event
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway import turns
from services.gateway.diff import diffs
from services.gateway.examples import ANSWERS, OTHER_ID, OTHER_STEPS, RUN_ID, STEPS
from shared.steps import RunRequested
from shared.subjects import RunKey
from tests.integration.test_gateway_examples import ASKED, announce_example, refused, settled
from tests.support.fake_runner import Batches, FakeRunner, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import new_key
from tests.support.waiting import eventually

OTHERWISE = {"instructions": "Answer with the number alone."}

HALF_A_RUN = """
    INSERT INTO runs (run_id, project, status, status_seq, response_seq, last_seq, steps)
    VALUES ($1, 'default', 'completed', 7, 6, 7, 3)
"""


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        await announce_example(gateway)
        serving.scripts["What"] = play
        yield serving


def play(key: RunKey, request: RunRequested) -> Batches:
    """What the runner of the examples wrote in the one run, or in the other one."""
    steps = STEPS if request.instructions == ASKED["instructions"] else OTHER_STEPS
    own = {"run_id": key.run_id, "project": key.project}
    return [[step.model_copy(update=own)] for step in steps[1:]]


async def start(gateway: Gateway, wait: str = "?wait=20", **body: Any) -> str:
    answer = await gateway.http.post(f"/api/runs{wait}", json=body)
    assert answer.is_success, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


async def ask(gateway: Gateway, left: str, right: str) -> httpx.Response:
    return await gateway.http.get("/api/diff", params={"left": left, "right": right})


async def compare(gateway: Gateway, left: str, right: str) -> Any:
    answer = await ask(gateway, left, right)
    assert answer.status_code == 200, answer.text
    return answer.json()


def charged(gateway: Gateway, *run_ids: str) -> Callable[[], Any]:
    async def is_charged() -> bool:
        views = [(await gateway.http.get(f"/api/runs/{run_id}")).json() for run_id in run_ids]
        return all(view["charged"] == view["model_calls"] for view in views)

    return is_charged


def without_cost(diff: Any) -> Any:
    for totals in (diff["left"]["totals"], diff["right"]["totals"], diff["delta"]):
        totals.pop("cost_usd")
    return diff


async def test_two_runs_differ_as_in_the_example_before_and_after_they_are_recorded(
    gateway: Gateway, runner: FakeRunner
) -> None:
    asked: dict[str, Any] = {**ASKED}
    left, right = await start(gateway, **asked), await start(gateway, **asked | OTHERWISE)
    from_log = await compare(gateway, left, right)
    assert from_log["delta"]["cost_usd"] is None
    async with projecting(gateway.nats, gateway.database):
        await eventually(charged(gateway, left, right))
    recorded = await compare(gateway, left, right)
    shown = settled(ANSWERS["run-diff"].value, OTHER_ID)
    assert settled(settled(recorded, left), right) == shown
    assert without_cost(from_log) == without_cost(recorded)


async def test_a_run_that_is_not_the_callers_is_not_compared_and_is_named(
    gateway: Gateway, runner: FakeRunner
) -> None:
    run_id = await start(gateway, prompt="hi")
    refused("no-such-run", await ask(gateway, run_id, RUN_ID))
    refused("no-such-run", await ask(gateway, RUN_ID, run_id))
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    foreign = await gateway.http.get(f"/api/diff?left={run_id}&right={run_id}", headers=stranger)
    refused("no-such-run", foreign, (RUN_ID, run_id))
    assert (await ask(gateway, run_id, "mine")).status_code == 404
    missing = await gateway.http.get(f"/api/diff?left={run_id}")
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "right")


async def test_a_run_that_goes_on_is_compared_as_far_as_it_has_come(
    gateway: Gateway, runner: FakeRunner
) -> None:
    ended, running = await start(gateway, prompt="hi"), await start(gateway, "", prompt="hold")
    diff = await compare(gateway, ended, running)
    assert (diff["complete"], diff["equal"], diff["right"]["totals"]["duration_ms"]) == (False, False, None)
    itself = await compare(gateway, running, running)
    assert (itself["complete"], itself["equal"], itself["items"]) == (False, True, [])


async def test_a_run_that_was_deleted_is_not_compared(gateway: Gateway, runner: FakeRunner) -> None:
    left, right = await start(gateway, prompt="hi"), await start(gateway, prompt="hi")
    assert (await compare(gateway, left, right))["equal"]
    async with projecting(gateway.nats, gateway.database):
        assert (await gateway.http.delete(f"/api/runs/{right}")).is_success
        assert (await ask(gateway, left, right)).status_code == 404


async def test_large_values_are_compared_by_word_and_larger_ones_by_their_hash(
    gateway: Gateway, runner: FakeRunner
) -> None:
    for words, is_too_large in ((12_000, False), (60_000, True)):
        text = "word " * words
        runs = [await start(gateway, prompt=f"{text}{last}") for last in ("one", "two", "two")]
        diff = await compare(gateway, *runs[:2])
        asked, answered = diff["items"][:2]
        assert (asked["kind"], answered["kind"]) == ("user-request", "agent-response")
        [change] = asked["changes"]
        assert change["too_large"] is is_too_large
        if is_too_large:
            assert change["left"].keys() == {"$body", "bytes"}
        else:
            assert change["text"]["segments"][1:] == [["removed", "one"], ["added", "two"]]
        assert (await compare(gateway, *runs[1:]))["equal"]


async def test_runs_that_are_too_large_are_refused_with_the_limit(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = await start(gateway, prompt="hi"), await start(gateway, prompt="ho")
    monkeypatch.setattr(diffs, "MOST_BYTES", 4000)
    refused("large-diff", await ask(gateway, left, right), ("16,777,216", "4,000"))
    monkeypatch.setattr(diffs, "MOST_STEPS", 11)
    refused("long-diff", await ask(gateway, left, right), ("31,204", "12"), ("20,000", "11"))


async def test_a_run_of_which_steps_are_missing_is_not_compared(gateway: Gateway, runner: FakeRunner) -> None:
    whole, key = await start(gateway, prompt="hi"), new_key()
    async with gateway.database.transaction() as connection:
        await connection.execute(HALF_A_RUN, UUID(key.run_id))
    refused("database-away", await ask(gateway, whole, key.run_id))


async def test_a_comparison_holds_up_nobody_and_only_few_are_made_at_a_time(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, going_on, compared = await start(gateway, prompt="hi"), Event(), diffs._compared
    begun: list[None] = []

    def slowly(*sides: Any) -> bytes:
        begun.append(None)
        going_on.wait(20)
        return compared(*sides)

    monkeypatch.setattr(diffs, "_compared", slowly)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    slow = [asyncio.create_task(ask(gateway, run_id, run_id)) for _ in range(turns.AT_ONCE)]
    try:
        await eventually(lambda: len(begun) == turns.AT_ONCE)
        assert (await gateway.http.get("/health/live")).is_success
        refused("busy-diff", await ask(gateway, run_id, run_id))
    finally:
        going_on.set()
        answers = await asyncio.gather(*slow)
    assert [answer.status_code for answer in answers] == [200] * turns.AT_ONCE
    assert (await ask(gateway, run_id, run_id)).status_code == 200
