"""Sessions that go on: a run carries the runs before it by reference, and what to do while one goes on."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from shared.run_log import RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.steps import CancelRequested, RunRequested, Step
from shared.subjects import RunKey
from tests.support.fake_runner import FakeRunner, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import only


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


async def steps_of(gateway: Gateway, run_id: str) -> list[Step]:
    return list((await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))).steps)


async def request_of(gateway: Gateway, run_id: str) -> RunRequested:
    return only(await steps_of(gateway, run_id), RunRequested)[0]


async def start(gateway: Gateway, prompt: str = "hi", **fields: Any) -> str:
    """The id of a run of the session that was accepted."""
    given = {"prompt": prompt, "session_id": "s", **fields}
    answer = await gateway.http.post("/api/runs", json=given)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def finished(gateway: Gateway, prompt: str = "hi") -> str:
    given = {"prompt": prompt, "session_id": "s"}
    answer = await gateway.http.post("/api/runs?wait=20", json=given)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


async def test_a_run_carries_the_earlier_runs_of_its_session_by_reference(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runs = [await finished(gateway) for _ in range(3)]
    request = await request_of(gateway, runs[2])
    assert [part.model_dump() for part in request.history] == [
        {"run_id": runs[0], "messages": None},
        {"run_id": runs[1], "messages": None},
    ]
    assert request.after_run_id == runs[1]
    other = await gateway.http.post("/api/runs", json={"prompt": "hi", "session_id": "another"})
    assert (await request_of(gateway, other.json()["run_id"])).history == ()


async def test_runs_that_start_at_once_form_one_line(gateway: Gateway, runner: FakeRunner) -> None:
    runs = await asyncio.gather(*(start(gateway) for _ in range(12)))
    requests = [await request_of(gateway, run_id) for run_id in runs]
    line = sorted(requests, key=lambda request: len(request.history))
    assert [len(request.history) for request in line] == list(range(12))
    for before, after in pairwise(line):
        assert after.history == (*before.history, after.history[-1])
        assert after.after_run_id == before.run_id


async def test_a_deleted_run_is_not_carried_on(gateway: Gateway, runner: FakeRunner) -> None:
    first, second = await finished(gateway), await finished(gateway)
    async with projecting(gateway.nats, gateway.database):
        assert (await gateway.http.delete(f"/api/runs/{second}")).status_code == 204
    third = await request_of(gateway, await finished(gateway))
    assert [part.run_id for part in third.history] == [first]


async def test_a_busy_session_refuses_when_asked_to(gateway: Gateway, runner: FakeRunner) -> None:
    held = await start(gateway, "hold it")
    answer = await gateway.http.post(
        "/api/runs", json={"prompt": "hi", "session_id": "s", "on_busy": "reject"}
    )
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (409, "session-busy")
    assert answer.json()["run_id"] == held
    waiting = await request_of(gateway, await start(gateway))
    assert waiting.after_run_id == held


async def test_a_busy_session_is_interrupted_when_asked_to(gateway: Gateway, runner: FakeRunner) -> None:
    held = await start(gateway, "hold it")
    newer = await request_of(gateway, await start(gateway, on_busy="interrupt"))
    assert newer.after_run_id == held
    [cancel] = only(await steps_of(gateway, held), CancelRequested)
    assert "newer run" in str(cancel.why)
    assert fold(await steps_of(gateway, held)).cancel is not None


async def test_a_repeated_request_keeps_its_place_in_the_session(
    gateway: Gateway, runner: FakeRunner
) -> None:
    first = await finished(gateway)
    given = {"prompt": "hi", "session_id": "s"}
    headers = {"Idempotency-Key": "once"}
    answers = [await gateway.http.post("/api/runs", json=given, headers=headers) for _ in range(2)]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    again = await request_of(gateway, answers[0].json()["run_id"])
    assert [part.run_id for part in again.history] == [first]


async def test_a_repeated_request_disturbs_no_later_run_of_its_session(
    gateway: Gateway, runner: FakeRunner
) -> None:
    given = {"prompt": "hi", "session_id": "s", "on_busy": "interrupt"}
    headers = {"Idempotency-Key": "once"}
    first = (await gateway.http.post("/api/runs?wait=20", json=given, headers=headers)).json()["run_id"]
    held = await start(gateway, "hold it")
    again = await gateway.http.post("/api/runs", json=given, headers=headers)
    assert (again.status_code, again.json()["run_id"]) == (202, first)
    assert only(await steps_of(gateway, held), CancelRequested) == []
    assert (await request_of(gateway, await start(gateway))).after_run_id == held


async def test_to_make_a_schedule_disturbs_no_run_of_its_session(
    gateway: Gateway, runner: FakeRunner
) -> None:
    held = await start(gateway, "hold it")
    for on_busy in ("interrupt", "reject"):
        run = {"prompt": "hi", "session_id": "s", "on_busy": on_busy}
        schedule = {"name": "yearly", "cron": "0 0 1 1 *", "input": run}
        assert (await gateway.http.post("/api/schedules", json=schedule)).status_code == 201
    assert only(await steps_of(gateway, held), CancelRequested) == []
