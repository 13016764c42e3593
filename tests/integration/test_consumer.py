"""Consuming on a real broker: nothing lost, nothing twice in vain, no busy loop, poison put aside."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from shared.bus import (
    DEAD,
    RECORDER,
    RUNNER,
    RUNS,
    BusSettings,
    Durable,
    client_of,
    declare,
    jetstream,
    make_broker,
)
from shared.consumer import STEPS_OF_RUNS, Consumer, Handler
from shared.dead_letters import DeadLetters, resend
from shared.errors import Permanent, Unavailable
from shared.puller import Puller
from shared.run_log import RunLog
from shared.step_codec import encode_steps
from shared.steps import Step
from shared.stored import sequence_of
from shared.subjects import RunKey, job_subject, log_subject
from studio.stack.nats import NatsServer
from tests.support.broker import dead_letters, settled
from tests.support.proxy import proxied
from tests.support.steps import claimed, new_key, requested, result
from tests.support.waiting import eventually

QUICK = Durable("quick", RUNS, "run.>", ack_wait_s=1.0)


class Inbox:
    """A handler that keeps what it was given, and fails when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Step]] = []
        self.fails: Callable[[Sequence[Step]], Exception | None] = lambda _: None
        self.calls = 0

    async def __call__(self, steps: Sequence[Step]) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if (error := self.fails(steps)) is not None:
            raise error
        self.batches.append(list(steps))

    @property
    def steps(self) -> list[Step]:
        return [step for batch in self.batches for step in batch]

    def seqs(self, key: RunKey) -> list[int]:
        return sorted(step.seq for step in self.steps if step.run_id == key.run_id)


@asynccontextmanager
async def connected(url: str, name: str = "consumer") -> AsyncIterator[Client]:
    async with make_broker(name, url) as broker:
        yield client_of(broker)


@asynccontextmanager
async def consuming(
    client: Client,
    handler: Handler[Step],
    *,
    durable: Durable = QUICK,
    most: int = 100,
    declared: bool = True,
) -> AsyncIterator[Consumer[Step]]:
    if declared:
        await jetstream(client).add_consumer(durable.stream, durable.config(1))
    async with Puller(client, durable.stream, durable.name, limit=2 * most) as puller:
        letters = DeadLetters(client, durable.name)
        consumer = Consumer(puller, handler, letters, STEPS_OF_RUNS, most_messages=most)
        consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop(within_s=5)


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    async with connected(nats_url) as made:
        yield made


async def publish(client: Client, key: RunKey, *payloads: bytes) -> None:
    js = jetstream(client)
    for payload in payloads:
        await js.publish(log_subject(key), payload, stream=RUNS)


async def publish_steps(client: Client, key: RunKey, count: int, *, first: int = 1) -> None:
    await publish(client, key, *(encode_steps([result(key, n, n)]) for n in range(first, first + count)))


async def all_done(client: Client) -> bool:
    return await settled(client, QUICK)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_every_step_reaches_the_handler_and_is_acknowledged(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    async with consuming(client, inbox):
        await publish_steps(client, key, 700)
        await eventually(lambda: len(inbox.steps) >= 700)
        await eventually(lambda: all_done(client))
    assert inbox.seqs(key) == list(range(1, 701))
    assert max(map(len, inbox.batches)) <= 100


async def test_the_puller_holds_no_more_messages_than_its_limit(client: Client) -> None:
    await jetstream(client).add_consumer(RUNS, QUICK.config(1))
    await publish_steps(client, new_key(), 50)
    async with Puller(client, RUNS, QUICK.name, limit=8) as puller:
        await eventually(lambda: len(puller._waiting) == 8)
        info = await jetstream(client).consumer_info(RUNS, QUICK.name)
        assert info.num_ack_pending == 8
        taken = await puller.take(3)
        assert len(taken) == 3
        puller.resize(0)
        await puller.hand_back(taken)
        async with Puller(client, RUNS, QUICK.name, limit=45) as other:
            await eventually(lambda: len(other._waiting) == 45, within_s=5)
        assert len(puller._waiting) == 5, "no place is free, so nothing more is asked for"


async def test_what_a_puller_held_is_soon_delivered_to_another(client: Client) -> None:
    await jetstream(client).add_consumer(RUNS, RECORDER.config(1))
    await publish_steps(client, new_key(), 50)
    async with Puller(client, RUNS, RECORDER.name, limit=20) as first:
        await eventually(lambda: len(first._waiting) == 20)
    async with Puller(client, RUNS, RECORDER.name, limit=100) as second:
        await eventually(lambda: len(second._waiting) == 50, within_s=5)


async def test_a_puller_ends_even_when_room_was_made_in_the_same_moment(client: Client) -> None:
    """A wait that swallows its cancellation would keep a stopping service alive for ever."""
    for _ in range(20):
        puller = Puller(client, RUNS, RECORDER.name, limit=5)
        await puller.__aenter__()
        await asyncio.sleep(0.002)
        puller.resize(4)
        await asyncio.wait_for(puller.__aexit__(None, None, None), 3)


async def test_a_cut_connection_does_not_make_the_puller_take_more_than_its_limit(
    nats_server: NatsServer, nats_url: str
) -> None:
    """The request of before the cut is still with the server when the connection is back."""
    async with (
        proxied(nats_server.url) as proxy,
        connected(proxy.url) as shaky,
        connected(nats_url) as steady,
    ):
        await jetstream(steady).add_consumer(RUNS, QUICK.config(1))
        async with Puller(shaky, RUNS, QUICK.name, limit=4) as puller:
            await eventually(lambda: puller._requested == 4)
            seen = metric("studio_pull_faults_total", consumer="quick", fault="reconnect")
            proxy.cut()
            await eventually(
                lambda: metric("studio_pull_faults_total", consumer="quick", fault="reconnect") > seen
            )
            await eventually(lambda: puller._requested == 4)
            await publish_steps(steady, new_key(), 30)
            await eventually(lambda: len(puller._waiting) >= 4)
            await shaky.flush()  # whatever else the server sent is here now
            assert len(puller._waiting) <= 4


async def test_a_restarted_broker_costs_no_step(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        async with connected(server.url, "setup") as client:
            await declare(jetstream(client), BusSettings(nats_url=server.url))
            inbox, key = Inbox(), new_key()
            async with consuming(client, inbox) as consumer:
                await publish_steps(client, key, 100)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await eventually(lambda: client.is_connected)
                await publish_steps(client, key, 100, first=101)
                await eventually(lambda: set(inbox.seqs(key)) == set(range(1, 201)), within_s=15)
                await eventually(lambda: all_done(client), within_s=10)
                await consumer.check()


async def test_a_deleted_consumer_is_a_fault_that_shows_and_not_a_busy_loop(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    async with consuming(client, inbox):
        await publish_steps(client, key, 1)
        await eventually(lambda: inbox.seqs(key) == [1])
        await jetstream(client).delete_consumer(RUNS, QUICK.name)
        await eventually(lambda: _faults() > 0, within_s=5)
        before, sent, began = _faults(), client.stats["out_msgs"], monotonic()
        await eventually(lambda: _faults() - before >= 2)
        assert monotonic() - began > 1, "a second between two requests"
        assert client.stats["out_msgs"] - sent <= 4
        await jetstream(client).add_consumer(RUNS, QUICK.config(1))
        await publish_steps(client, key, 1, first=2)
        await eventually(lambda: 2 in inbox.seqs(key), within_s=5)


def _faults() -> float:
    return sum(metric("studio_pull_faults_total", consumer="quick", fault=fault) for fault in ("409", "503"))


async def test_what_will_pass_is_tried_again_and_not_redelivered_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.consumer.IN_PROGRESS_S", 0.3)
    monkeypatch.setattr("shared.consumer.MAX_RETRY_DELAY_S", 0.8)
    inbox, key = Inbox(), new_key()
    down = True
    inbox.fails = lambda _: Unavailable("the database is away") if down else None
    async with consuming(client, inbox) as consumer:
        await publish(client, key, encode_steps([result(key, seq, seq) for seq in range(1, 21)]))
        began = monotonic()
        await eventually(lambda: inbox.calls >= 3)
        with pytest.raises(Unavailable, match="database is away"):
            await consumer.check()
        await eventually(lambda: inbox.calls >= 6)
        assert monotonic() - began > 1.5, (
            "growing waits, together longer than the acknowledgement wait of 1 s"
        )
        info = await jetstream(client).consumer_info(RUNS, QUICK.name)
        assert info.num_redelivered == 0
        down = False
        await eventually(lambda: all_done(client), within_s=10)
        await consumer.check()
    assert inbox.seqs(key) == list(range(1, 21)), "once each, none twice"


async def test_a_consumer_stops_within_a_bound_though_its_handler_does_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.tasks.AGAIN_S", 0.1)
    monkeypatch.setattr("shared.tasks.GIVE_UP_S", 0.3)
    begun, released = asyncio.Event(), asyncio.Event()

    async def handler(_: Sequence[Step]) -> None:
        begun.set()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    async with consuming(client, handler) as consumer:
        await publish_steps(client, new_key(), 1)
        await begun.wait()
        async with asyncio.timeout(5):
            await consumer.stop(within_s=0.1)
        released.set()


async def test_a_poison_step_is_put_aside_alone_and_can_be_sent_again(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    ill = True
    inbox.fails = lambda steps: (
        Permanent("no such day\nin any calendar") if ill and any(s.seq == 13 for s in steps) else None
    )
    async with consuming(client, inbox):
        await publish(client, key, encode_steps([result(key, seq, seq) for seq in range(1, 31)]))
        await eventually(lambda: all_done(client))
        assert inbox.seqs(key) == [seq for seq in range(1, 31) if seq != 13]
        [letter] = await dead_letters(client)
        headers = letter.headers or {}
        assert letter.data == encode_steps([result(key, 13, 13)])
        assert headers["Dead-Service"] == "quick"
        assert headers["Dead-Subject"] == log_subject(key)
        assert headers["Dead-Error"] == "Permanent: no such day in any calendar"
        assert int(headers["Dead-Sequence"]) > 0
        assert headers["Dead-Delivered"] == "1"
        ill = False
        assert await resend(client, sequence_of(letter)) == f"run.redo.quick.{key.project}.{key.run_id}"
        await eventually(lambda: inbox.seqs(key) == list(range(1, 31)))
        assert await dead_letters(client) == []


async def test_a_dead_job_of_the_runner_can_be_sent_again_to_the_runner(client: Client) -> None:
    """Sending it again must lead to a consumer; a letter that is removed and read by nobody is lost."""
    key = new_key()
    js = jetstream(client)
    await js.publish(job_subject(key), encode_steps([requested(key)]), stream=RUNS)
    async with Puller(client, RUNNER.stream, RUNNER.name, limit=1) as puller:
        [message] = await puller.take(1)
        await DeadLetters(client, "runner").add(message, message.data, "unusable", "it was not to be")
        await message.term()
    [letter] = await dead_letters(client)
    await resend(client, sequence_of(letter))
    async with Puller(client, RUNNER.stream, RUNNER.name, limit=1) as puller:
        async with asyncio.timeout(5):
            [again] = await puller.take(1)
        assert again.data == encode_steps([requested(key)])
        await again.ack()


async def test_sending_a_letter_again_that_is_not_there_is_a_permanent_error(client: Client) -> None:
    with pytest.raises(Permanent, match="no dead letter"):
        await resend(client, 12345)


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"\xff\xfe", b"null", b"[" * 20_000, b'{"kind": "run-claimed"}']
)
async def test_a_message_that_is_no_batch_costs_its_neighbours_nothing(
    client: Client, garbage: bytes
) -> None:
    inbox, key = Inbox(), new_key()
    async with consuming(client, inbox):
        await publish(client, key, encode_steps([claimed(key, 1)]), garbage, encode_steps([claimed(key, 2)]))
        await eventually(lambda: all_done(client))
    assert inbox.seqs(key) == [1, 2]
    [letter] = await dead_letters(client)
    assert (letter.data, (letter.headers or {})["Nats-Msg-Id"].split(":")[0]) == (garbage, "quick")


async def test_one_undecodable_step_of_a_message_costs_its_neighbours_nothing(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    steps = json.loads(encode_steps([claimed(key, seq) for seq in range(1, 500)]))
    for seq, value in ((7, 2**40), (99, -1), (300, "many")):
        steps[seq - 1]["attempt"] = value
    async with consuming(client, inbox):
        await publish(client, key, json.dumps(steps).encode())
        await eventually(lambda: all_done(client))
    assert inbox.seqs(key) == [seq for seq in range(1, 500) if seq not in {7, 99, 300}]
    assert [json.loads(letter.data)[0]["attempt"] for letter in await dead_letters(client)] == [
        2**40,
        -1,
        "many",
    ]


async def test_a_redelivered_poison_step_leaves_one_letter(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    inbox.fails = lambda steps: ValueError("never") if any(s.seq == 1 for s in steps) else None
    await jetstream(client).add_consumer(RUNS, QUICK.config(1))
    await publish_steps(client, key, 1)
    for _ in range(3):
        async with consuming(client, inbox, declared=False):
            await eventually(lambda: inbox.calls >= 1)
            await eventually(lambda: all_done(client))
        inbox.calls = 0
        await jetstream(client).delete_consumer(RUNS, QUICK.name)
        await jetstream(client).add_consumer(RUNS, QUICK.config(1))
    assert len(await dead_letters(client)) == 1


async def test_readiness_returns_once_a_letter_could_be_stored(client: Client) -> None:
    inbox, key = Inbox(), new_key()
    inbox.fails = lambda _: ValueError("never")
    js = jetstream(client)
    config = (await js.stream_info(DEAD)).config
    await js.delete_stream(DEAD)
    async with consuming(client, inbox) as consumer:
        await publish_steps(client, key, 1)
        await eventually(lambda: consumer.blocked_by is not None)
        assert not await all_done(client)
        await js.add_stream(config)
        await eventually(lambda: all_done(client), within_s=15)
        assert len(await dead_letters(client)) == 1
        await consumer.check()


async def test_a_graceful_stop_finishes_the_batch_in_hand_and_hands_back_the_rest(client: Client) -> None:
    key = new_key()
    inbox, other = Inbox(), Inbox()
    opened = asyncio.Event()

    async def slow(steps: Sequence[Step]) -> None:
        await opened.wait()
        await inbox(steps)

    await jetstream(client).add_consumer(RUNS, RECORDER.config(1))
    await publish_steps(client, key, 50)
    async with Puller(client, RUNS, RECORDER.name, limit=40) as puller:
        letters = DeadLetters(client, "recorder")
        consumer = Consumer(puller, slow, letters, STEPS_OF_RUNS, most_messages=10)
        consumer.start()
        await eventually(lambda: consumer._busy)
        stopping = asyncio.create_task(consumer.stop(within_s=5))
        await eventually(lambda: consumer._stopping)
        assert not stopping.done()
        opened.set()
        await stopping
    handled = len(inbox.steps)
    assert 0 < handled < 50
    began = monotonic()
    async with consuming(client, other, durable=RECORDER, declared=False):
        await eventually(lambda: len(other.steps) == 50 - handled, within_s=8)
    assert monotonic() - began < 8, "handed back, not left to the acknowledgement wait of 30 s"
    assert sorted(inbox.seqs(key) + other.seqs(key)) == list(range(1, 51))


async def test_a_stop_that_cannot_wait_hands_the_batch_back(client: Client) -> None:
    key, other = new_key(), Inbox()

    async def stuck(_: Sequence[Step]) -> None:
        await asyncio.Event().wait()

    await publish_steps(client, key, 5)
    async with Puller(client, RUNS, RECORDER.name, limit=20) as puller:
        consumer = Consumer(puller, stuck, DeadLetters(client, "recorder"), STEPS_OF_RUNS)
        consumer.start()
        await eventually(lambda: consumer._busy)
        await asyncio.wait_for(consumer.stop(within_s=0.1), 5)
    async with consuming(client, other, durable=RECORDER, declared=False):
        await eventually(lambda: other.seqs(key) == [1, 2, 3, 4, 5], within_s=5)


async def test_three_deliveries_in_any_order_give_the_handler_the_same_steps(
    client: Client, run_log: RunLog
) -> None:
    inbox, key = Inbox(), new_key()
    for _ in range(3):
        async with consuming(client, inbox):
            if not inbox.batches:
                await publish_steps(client, key, 30)
            await eventually(lambda: all_done(client))
        await jetstream(client).delete_consumer(RUNS, QUICK.name)
    assert inbox.seqs(key) == sorted([*range(1, 31)] * 3)
    assert [step.seq for step in (await run_log.read(key)).steps] == list(range(1, 31))


def test_the_declared_consumers_never_give_up_and_acknowledge_explicitly() -> None:
    configs: list[Any] = [durable.config(1) for durable in (RUNNER, RECORDER)]
    assert {(c.max_deliver, c.ack_policy) for c in configs} == {(-1, "explicit")}
    assert all(c.max_ack_pending > 1000 for c in configs)
