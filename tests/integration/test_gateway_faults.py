"""When parts of the world are away, slow or broken: what still works, and how the rest ends."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from services.gateway.runs import Runs
from shared.bus import CATALOG, RUNS, client_of, jetstream, make_broker
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.subjects import RunKey, catalog_subject
from tests.support.events import following, steps_until_end
from tests.support.fake_runner import announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


async def is_projected(gateway: Gateway, run_id: str, status: str) -> bool:
    async with gateway.database.connection() as connection:
        found = await connection.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id)
    return bool(found == status)


async def test_without_the_broker_what_is_recorded_is_still_served(nats_url: str, database_url: str) -> None:
    async with (
        proxied(nats_url) as proxy,
        make_broker("world", nats_url) as world,
        running_gateway(proxy.url, database_url) as gateway,
    ):
        async with running_fake_runner(client_of(world)), projecting(client_of(world), gateway.database):
            run_id = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "tool"})).json()["run_id"]
            held = (await gateway.http.post("/api/runs", json={"prompt": "hold"})).json()["run_id"]
            await eventually(lambda: is_projected(gateway, run_id, "completed"))
            await eventually(lambda: is_projected(gateway, held, "running"))
        port, proxy.target = proxy.target, 1  # nobody listens there
        proxy.cut()

        async def is_noticed() -> bool:
            return (await gateway.http.get("/health/ready")).status_code == 503

        await eventually(is_noticed)
        assert (await gateway.http.get(f"/api/runs/{run_id}")).json()["response"] == "The result is 15."
        assert (await gateway.http.get(f"/api/runs/{held}")).json()["status"] == "running"
        assert len((await gateway.http.get("/api/runs")).json()["items"]) == 2
        async with following(gateway.http, run_id) as events:
            assert await steps_until_end(events) == list(range(8))
        for refused in (
            await gateway.http.post(f"/api/runs/{held}/cancel"),
            await gateway.http.delete(f"/api/runs/{run_id}"),
            await gateway.http.post("/api/runs", json={"prompt": "hi"}),
        ):
            assert refused.status_code == 503
        proxy.target = port
        await eventually(lambda: gateway.nats.is_connected)


async def test_a_run_that_outlived_the_brokers_log_is_served_from_the_database(gateway: Gateway) -> None:
    async with running_fake_runner(gateway.nats), projecting(gateway.nats, gateway.database):
        run_id = (await gateway.http.post("/api/runs", json={"prompt": "hold"})).json()["run_id"]
        await eventually(lambda: is_projected(gateway, run_id, "running"))
    await jetstream(gateway.nats).purge_stream(RUNS)
    assert [step["seq"] for step in (await gateway.http.get(f"/api/runs/{run_id}")).json()["steps"]] == [0, 1]
    async with asyncio.timeout(10), following(gateway.http, run_id) as events:
        seqs = [(await anext(events)).id, (await anext(events)).id]
    assert seqs == ["0", "1"]
    cancelled = await gateway.http.post(f"/api/runs/{run_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "running")
    put_back = await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))
    assert [step.kind for step in put_back.steps] == ["run-requested", "run-claimed", "cancel-requested"]


async def test_an_announcement_that_nobody_can_read_is_as_good_as_none(gateway: Gateway) -> None:
    await jetstream(gateway.nats).publish(catalog_subject("tools"), b'{"tools": 7}', stream=CATALOG)
    answer = await gateway.http.get("/api/tools")
    assert (answer.status_code, answer.json()["detail"]) == (503, "no runner has announced its tools yet")


async def test_a_body_that_comes_too_slowly_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.limits.BODY_TIMEOUT_S", 0.2)

    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = ("POST /api/runs HTTP/1.1", "Host: x", f"X-API-Key: {gateway.key}", "Content-Length: 100", "", "")
    writer.write("\r\n".join(head).encode() + b'{"prompt": ')
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:agentops-studio:problem:request-timeout" in answer


async def test_a_client_that_stopped_reading_does_not_keep_its_stream(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.event_response.SEND_TIMEOUT_S", 0.3)
    async with running_fake_runner(gateway.nats):
        large = {"prompt": "hi", "instructions": "x" * 60_000}
        run_id = (await gateway.http.post("/api/runs?wait=20", json=large)).json()["run_id"]
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    clients = []
    for _ in range(20):  # one of them may fit into the buffers of the system, all of them do not
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect((host, int(port)))
        path = f"/api/runs/{run_id}/events"
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n\r\n"
        client.sendall(request.encode() * 200)
        clients.append(client)

    async def are_closed() -> bool:
        metrics = (await gateway.http.get("/metrics")).text
        return 'studio_open_streams{kind="events"} 0.0' in metrics

    await eventually(are_closed)
    for client in clients:
        client.close()


async def test_an_unexpected_error_is_a_problem_that_tells_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(Runs, "newest", broken)
    answer = await gateway.http.get("/api/runs")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
