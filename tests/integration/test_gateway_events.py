"""Following runs live: every step once and in order, whatever happens on the way."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest

from shared.bus import BusSettings, client_of, declare, jetstream, make_broker
from shared.errors import Unavailable
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import RunFinished, Step
from shared.subjects import RunKey, live_subject
from studio.stack.nats import NatsServer
from tests.support.events import Sent, following, steps_until_end
from tests.support.fake_runner import FakeRunner, announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.steps import claimed, make, result
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url, {"GATEWAY_HEARTBEAT_S": "0.5"}) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


class Author:
    """Writes a run's log by hand, as its only runner."""

    def __init__(self, log: RunLog, key: RunKey) -> None:
        self.key = key
        self.next_seq = 1
        self._log = log
        self._sequence = 0

    async def write(self, count: int = 1, *, size: int = 4) -> None:
        """So many steps in one message."""
        steps: list[Step] = []
        for seq in range(self.next_seq, self.next_seq + count):
            steps.append(claimed(self.key, 1) if seq == 1 else result(self.key, seq, "x" * size))
        await self.append(*steps)

    async def finish(self) -> None:
        await self.append(make(RunFinished, self.key, self.next_seq, status="completed"))

    async def append(self, *steps: Step) -> None:
        sealed = self._log.seal(steps)
        self._sequence = await self._log.append(self.key, sealed, self._sequence, patience_s=60)
        self.next_seq += len(steps)


async def new_author(gateway: Gateway, log: RunLog | None = None) -> Author:
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hi"})).json()["run_id"]
    return Author(log or RunLog(gateway.nats, Scrubber()), RunKey("default", run_id))


async def test_a_finished_run_is_sent_whole_and_ends(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "tool"})).json()["run_id"]
    for _ in range(2):
        async with following(gateway.http, run_id) as events:
            assert await steps_until_end(events) == list(range(8))
        async with following(gateway.http, run_id, last_event_id=5) as events:
            assert await steps_until_end(events) == [6, 7]
        async with following(gateway.http, run_id, last_event_id=7) as events:
            assert await steps_until_end(events) == []
        async with projecting(gateway.nats, gateway.database):  # the second time around, from the database

            async def is_projected() -> bool:
                return (await gateway.http.get(f"/api/runs/{run_id}")).json()["total_cost_usd"] is not None

            await eventually(is_projected)


async def test_steps_arrive_as_they_are_stored_with_deltas_between_and_the_run_at_the_end(
    gateway: Gateway,
) -> None:
    author = await new_author(gateway)
    live = live_subject(author.key)
    async with asyncio.timeout(10), following(gateway.http, author.key.run_id) as events:

        async def next_event() -> Sent:
            async for event in events:
                if event.name is not None:
                    return event
            raise AssertionError("the stream broke off")

        assert (await next_event()).data["kind"] == "run-requested"
        await author.write()
        assert (await next_event()).data["kind"] == "run-claimed"
        await gateway.nats.publish(live, json.dumps({"type": "delta", "text": "Hel"}).encode())
        delta = await next_event()
        assert (delta.name, delta.id, delta.data) == ("delta", None, {"type": "delta", "text": "Hel"})
        await author.finish()
        assert (await next_event()).data["kind"] == "run-finished"
        end = await next_event()
        assert (end.name, end.data["run_id"], end.data["status"]) == ("end", author.key.run_id, "completed")
        assert [event async for event in events] == []


async def test_a_stream_ends_when_its_key_is_revoked(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hold"})).json()["run_id"]
    async with asyncio.timeout(20), following(gateway.http, run_id) as events:
        assert (await anext(events)).id == "0"
        monkeypatch.setattr("services.gateway.key_ring.FRESH_S", 0.0)
        async with gateway.database.transaction() as connection:
            await connection.execute("UPDATE api_keys SET revoked_at = now()")
        *_, last = [event async for event in events]
    assert (last.name, last.data) == (None, "this API key was revoked; use another")


async def test_an_idle_stream_has_heartbeats(gateway: Gateway) -> None:
    author = await new_author(gateway)
    async with asyncio.timeout(10), following(gateway.http, author.key.run_id) as events:
        comments = 0
        async for event in events:
            comments += event.data == "heartbeat"
            if comments == 2:
                return


async def test_many_clients_of_one_run_each_get_every_step_once(gateway: Gateway) -> None:
    author = await new_author(gateway)

    async def follow() -> list[int]:
        async with following(gateway.http, author.key.run_id) as events:
            return await steps_until_end(events)

    clients = []
    for _ in range(20):  # they join while the run goes on
        clients.append(asyncio.create_task(follow()))
        await author.write(3)
    await author.finish()
    for seqs in await asyncio.wait_for(asyncio.gather(*clients), 20):
        assert seqs == list(range(62))


async def test_a_broken_stream_is_taken_up_without_loss_or_repetition(gateway: Gateway) -> None:
    author = await new_author(gateway)
    seen: list[int] = []

    async def write() -> None:
        for _ in range(100):
            await author.write(2)
        await author.finish()

    writing = asyncio.create_task(write())
    while not seen or seen[-1] < 201:
        async with following(gateway.http, author.key.run_id, last_event_id=len(seen) - 1) as events:
            async for event in events:
                if event.name == "step":
                    seen.append(event.data["seq"])
                    if len(seen) % 7 == 0:
                        break  # the connection is cut in the middle
    await writing
    assert seen == list(range(202))


async def test_an_id_that_no_step_has_is_refused_or_waits_for_the_end(gateway: Gateway) -> None:
    author = await new_author(gateway)
    answer = await gateway.http.get(
        f"/api/runs/{author.key.run_id}/events", headers={"Last-Event-ID": "nonsense"}
    )
    assert answer.status_code == 422
    async with asyncio.timeout(10), following(gateway.http, author.key.run_id, last_event_id=1000) as events:
        await author.write()
        await author.finish()
        assert await steps_until_end(events) == []


async def test_what_core_nats_loses_is_read_from_the_log(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.stored.READ_TIMEOUT_S", 1.0)  # a read that is cut off is begun again then
    async with (
        proxied(nats_url) as proxy,
        running_gateway(proxy.url, database_url, {"GATEWAY_HEARTBEAT_S": "0.5"}) as gateway,
        make_broker("author", nats_url) as broker,
    ):
        await announce(gateway.nats)
        author = await new_author(gateway, RunLog(client_of(broker), Scrubber()))
        async with asyncio.timeout(30), following(gateway.http, author.key.run_id) as events:
            await author.write()
            assert (await anext(aiter_steps(events))) == 0
            proxy.cut()  # what is stored now, the gateway does not hear of
            for _ in range(5):
                await author.write()
            assert [await anext(aiter_steps(events)) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
            proxy.cut()
            await author.finish()
            assert await steps_until_end(events) == [7]


async def aiter_steps(events: AsyncIterator[Sent]) -> AsyncIterator[int]:
    async for event in events:
        if event.name == "step":
            yield event.data["seq"]


async def test_a_killed_broker_costs_no_step_and_doubles_none(tmp_path: Path, database_url: str) -> None:
    with NatsServer(tmp_path / "nats") as server:
        async with make_broker("author", server.url) as broker:
            await declare(jetstream(client_of(broker)), BusSettings(nats_url=server.url))
            async with running_gateway(server.url, database_url) as gateway:
                await announce(gateway.nats)
                author = await new_author(gateway, RunLog(client_of(broker), Scrubber()))

                async def write() -> None:
                    for index in range(60):
                        await _stubbornly(author)
                        if index == 20:
                            server.kill()
                            await asyncio.to_thread(server.start)
                    await author.finish()

                async with asyncio.timeout(60), following(gateway.http, author.key.run_id) as events:
                    writing = asyncio.create_task(write())
                    assert await steps_until_end(events) == list(range(62))
                    await writing


async def _stubbornly(author: Author) -> None:
    while True:
        try:
            return await author.write()
        except Unavailable:
            await asyncio.sleep(0.1)


async def test_a_burst_larger_than_the_buffer_reaches_a_client_that_reads(gateway: Gateway) -> None:
    author = await new_author(gateway)
    async with asyncio.timeout(20), following(gateway.http, author.key.run_id) as events:
        assert await anext(aiter_steps(events)) == 0
        for _ in range(10):
            await author.write(300)
        await author.finish()
        assert await steps_until_end(events) == list(range(1, 3002))


async def test_a_client_that_does_not_read_is_cut_off_and_disturbs_nobody(gateway: Gateway) -> None:
    author = await new_author(gateway)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    sluggish = socket.socket()
    sluggish.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sluggish.connect((host, int(port)))
    path = f"/api/runs/{author.key.run_id}/events"
    sluggish.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.key}\r\n\r\n".encode())

    async def follow() -> list[int]:
        async with following(gateway.http, author.key.run_id) as events:
            return await steps_until_end(events)

    reading = asyncio.create_task(follow())

    async def both_are_open() -> bool:
        return 'studio_open_streams{kind="events"} 2.0' in (await gateway.http.get("/metrics")).text

    await eventually(both_are_open)
    for _ in range(120):
        await author.write(size=60_000)
    await author.finish()
    assert await asyncio.wait_for(reading, 20) == list(range(122))
    text = await asyncio.to_thread(_drained, sluggish)
    assert b"you read too slowly" in text
    received = [int(line[4:]) for line in text.split(b"\n") if line.startswith(b"id: ")]
    assert received == list(range(len(received)))
    async with following(gateway.http, author.key.run_id, last_event_id=received[-1]) as events:
        assert await steps_until_end(events) == list(range(received[-1] + 1, 122))


def _drained(connection: socket.socket) -> bytes:
    """All that is left to read, up to the end of the chunked answer."""
    connection.settimeout(10)
    text = b""
    while not text.endswith(b"0\r\n\r\n"):
        if not (data := connection.recv(1 << 20)):
            break
        text += data
    connection.close()
    return text


async def test_streams_are_bounded_in_number_and_leave_nothing_behind(
    nats_url: str, database_url: str
) -> None:
    async with running_gateway(nats_url, database_url, {"GATEWAY_MAX_STREAMS": "2"}) as gateway:
        await announce(gateway.nats)
        author = await new_author(gateway)
        run_id = author.key.run_id
        async with following(gateway.http, run_id) as first, following(gateway.http, run_id) as second:
            assert await anext(aiter_steps(first)) == await anext(aiter_steps(second)) == 0
            refused = await gateway.http.get(f"/api/runs/{run_id}/events")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")

        async def is_clean() -> bool:
            metrics = (await gateway.http.get("/metrics")).text
            return 'streams{kind="events"} 0.0' in metrics and "studio_watched_runs 0.0" in metrics

        await eventually(is_clean)


async def test_two_thousand_idle_streams_do_not_starve_a_request(nats_url: str, database_url: str) -> None:
    async with (
        running_gateway(nats_url, database_url) as gateway,
        running_fake_runner(gateway.nats) as runner,
    ):
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        run_ids = []
        for _ in range(100):
            answer = await gateway.http.post("/api/runs", json={"prompt": "hold it"})
            run_ids.append(answer.json()["run_id"])

        async def open_stream(run_id: str) -> asyncio.StreamWriter:
            reader, writer = await asyncio.open_connection(host, int(port))
            head = (f"GET /api/runs/{run_id}/events HTTP/1.1", "Host: x", f"X-API-Key: {gateway.key}", "", "")
            writer.write("\r\n".join(head).encode())
            await reader.readuntil(b"run-claimed")
            return writer

        writers: list[asyncio.StreamWriter] = []
        for start in range(0, 2000, 100):
            writers += await asyncio.gather(
                *(open_stream(run_ids[i % 100]) for i in range(start, start + 100))
            )
        assert 'studio_open_streams{kind="events"} 2000.0' in (await gateway.http.get("/metrics")).text
        begun = monotonic()
        answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "hi"})
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        assert monotonic() - begun < 1
        assert runner.played > 0
        for writer in writers:
            writer.close()
