"""Idempotency keys: one run for one key, whatever is repeated, raced or lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.idempotency import Entry, Idempotency
from services.gateway.key_ring import Principal
from services.gateway.requests import RunInput
from services.gateway.starter import Order
from shared.bus import IDEMPOTENCY_BUCKET, jetstream
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.subjects import RunKey
from tests.support.fake_runner import FakeRunner, announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually

BUCKET = f"KV_{IDEMPOTENCY_BUCKET}"


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


async def post(
    gateway: Gateway, key: str, path: str = "/api/runs", body: dict[str, Any] | None = None
) -> httpx.Response:
    return await gateway.http.post(path, json=body or {"prompt": "hi"}, headers={"Idempotency-Key": key})


async def jobs(gateway: Gateway) -> int:
    info = await jetstream(gateway.nats).stream_info("RUNS", subjects_filter="run.job.>")
    return sum((info.state.subjects or {}).values())


async def test_the_same_request_again_is_the_same_run(gateway: Gateway) -> None:
    first, second = await post(gateway, "k1"), await post(gateway, "k1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["run_id"] == second.json()["run_id"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert await jobs(gateway) == 1


async def test_the_order_of_fields_makes_no_other_request(gateway: Gateway) -> None:
    first = await post(gateway, "k1", body={"prompt": "hi", "user_id": "u"})
    second = await post(gateway, "k1", body={"user_id": "u", "prompt": "hi"})
    assert first.json()["run_id"] == second.json()["run_id"]


async def test_a_repetition_with_wait_is_answered_with_the_finished_run(
    gateway: Gateway, runner: FakeRunner
) -> None:
    first = await post(gateway, "k1")
    second = await post(gateway, "k1", "/api/runs?wait=20")
    assert (second.status_code, second.json()["run_id"]) == (200, first.json()["run_id"])
    assert second.json()["response"] == "echo: hi"


async def test_every_way_to_start_a_run_takes_a_key(gateway: Gateway, runner: FakeRunner) -> None:
    ways = {"/api/chat": {"message": "hi"}, "/run": {"prompt": "hi"}, "/api/runs?wait=20": {"prompt": "hi"}}
    async with projecting(gateway.nats, gateway.database):
        for path, body in ways.items():
            first, second = await post(gateway, path, path, body), await post(gateway, path, path, body)
            assert first.json()["run_id"] == second.json()["run_id"]
            assert second.headers["idempotent-replayed"] == "true"
    assert runner.played == 3


async def test_another_body_under_the_same_key_is_refused(gateway: Gateway) -> None:
    first = await post(gateway, "k1")
    for again in (
        await post(gateway, "k1", body={"prompt": "ho"}),
        await post(gateway, "k1", "/run", {"prompt": "hi"}),
    ):
        assert again.status_code == 409
        assert again.json()["type"].endswith(":idempotency-key-reused")
        assert again.json()["run_id"] == first.json()["run_id"]
    assert await jobs(gateway) == 1


async def test_a_malformed_key_is_refused(gateway: Gateway) -> None:
    for key in ("", "a b", "x" * 256, "caf\u00e9"):
        headers = {b"Idempotency-Key": key.encode("latin-1")}
        answer = await gateway.http.post("/api/runs", json={"prompt": "hi"}, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_a_refused_request_does_not_use_up_its_key(gateway: Gateway) -> None:
    assert (await post(gateway, "k1", body={"prompt": "hi", "tools": ["nope"]})).status_code == 422
    assert (await post(gateway, "k1")).status_code == 202


async def test_the_same_key_of_another_project_is_another_run(gateway: Gateway) -> None:
    first = await post(gateway, "k1")
    headers = {"Authorization": f"Bearer {await gateway.key_for('other')}", "Idempotency-Key": "k1"}
    second = await gateway.http.post("/api/runs", json={"prompt": "ho"}, headers=headers)
    assert second.status_code == 202
    assert first.json()["run_id"] != second.json()["run_id"]


async def test_fifty_at_once_are_one_run_and_none_is_answered_before_it_is_on_disk(gateway: Gateway) -> None:
    log = RunLog(gateway.nats, Scrubber())

    async def send() -> str:
        answer = await post(gateway, "k1")
        assert answer.status_code == 202, answer.text
        run_id = str(answer.json()["run_id"])
        assert (await log.read(RunKey("default", run_id), fresh=True)).steps, "answered before it was stored"
        return run_id

    assert len(set(await asyncio.gather(*(send() for _ in range(50))))) == 1
    assert await jobs(gateway) == 1


async def test_a_crash_between_key_and_run_is_made_up_for_by_the_next_try(gateway: Gateway) -> None:
    run = RunInput.model_validate({"prompt": "hi"})
    order = Order(Principal("default", "", "", frozenset()), "/api/runs", run)
    lost = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"
    await Idempotency(gateway.nats).claim("default", "k1", Entry(run_id=lost, request=order.fingerprint))
    answer = await post(gateway, "k1")
    assert (answer.status_code, answer.json()["run_id"]) == (202, lost)
    assert (await gateway.http.get(f"/api/runs/{lost}")).json()["prompt"] == "hi"


async def test_a_lost_acknowledgement_is_told_and_made_up_for(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("starter", "idempotency"):
        monkeypatch.setattr(f"services.gateway.{module}.PATIENCE_S", 0.5)
    async with (
        proxied(nats_url) as proxy,
        running_gateway(proxy.url, database_url) as gateway,
    ):
        await announce(gateway.nats)
        assert (await post(gateway, "k0")).status_code == 202
        proxy.deaf = True
        answer = await gateway.http.post("/api/runs", json={"prompt": "hi"})
        assert answer.status_code == 503
        assert "may have been accepted" in answer.json()["detail"]
        with_key = await post(gateway, "k1")
        assert with_key.status_code == 503
        proxy.deaf = False
        proxy.cut()
        answer = await _patiently(gateway, "k1")
        assert answer.status_code == 202
        again = await post(gateway, "k1")
        assert again.json()["run_id"] == answer.json()["run_id"]


async def _patiently(gateway: Gateway, key: str) -> httpx.Response:
    """The first answer that is no 503."""
    async with asyncio.timeout(20):
        while (answer := await post(gateway, key)).status_code == 503:
            await asyncio.sleep(0.2)
    return answer


async def test_a_deleted_run_does_not_come_back_by_its_key(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = (await post(gateway, "k1", "/api/runs?wait=20")).json()["run_id"]
    async with projecting(gateway.nats, gateway.database):
        assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 204
    answer = await post(gateway, "k1", "/api/runs?wait=20")
    assert answer.status_code == 409
    assert "was deleted" in answer.json()["detail"]
    assert runner.played == 1


async def stored_keys(gateway: Gateway) -> int:
    return (await jetstream(gateway.nats).stream_info(BUCKET)).state.messages


async def test_when_no_more_keys_fit_that_is_said_and_runs_without_a_key_are_taken(gateway: Gateway) -> None:
    js = jetstream(gateway.nats)
    config = (await js.stream_info(BUCKET)).config
    await js.update_stream(config.evolve(max_bytes=1024))
    answers = [await post(gateway, f"k{number}") for number in range(8)]
    full = answers[-1]
    assert (answers[0].status_code, full.status_code) == (202, 503)
    assert "as many idempotency keys as it may" in full.json()["detail"]
    assert int(full.headers["retry-after"]) == 60
    assert (await post(gateway, "k0")).json() == answers[0].json()
    assert (await gateway.http.post("/api/runs", json={"prompt": "hi"})).status_code == 202


async def test_what_may_happen_once_is_forgotten_in_time_and_takes_no_room_from_keys(
    gateway: Gateway,
) -> None:
    once = Idempotency(gateway.nats)
    await post(gateway, "k1")
    assert await once.use_once("a", ttl_s=1)
    assert not await once.use_once("a", ttl_s=1)
    assert await stored_keys(gateway) == 2

    async def is_forgotten() -> bool:
        return await stored_keys(gateway) == 1

    await eventually(is_forgotten)
    assert await once.use_once("a", ttl_s=1)
    assert (await post(gateway, "k1")).headers["idempotent-replayed"] == "true"
