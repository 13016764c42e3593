"""Watches and their hub on a real broker: what is lost on the way is noticed and read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.gateway.hub import Hub
from services.gateway.log_reader import LogReader
from services.gateway.problems import Problem
from services.gateway.watch import Arrival
from shared.bus import client_of, make_broker
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import Step
from shared.subjects import RunKey
from shared.tasks import end
from tests.support.steps import claimed, new_key, requested, result
from tests.support.waiting import eventually

Callback = Callable[[Msg], Awaitable[None]]


class Lossy:
    """A connection that loses those messages of the log whose turn is in `lost`."""

    def __init__(self, client: Client) -> None:
        self.lost: set[int] = set()
        self.subscriptions = 0
        self._client = client
        self._heard = 0

    async def subscribe(self, subject: str, cb: Callback, **options: Any) -> Any:
        async def pass_on(message: Msg) -> None:
            self._heard += 1
            if self._heard not in self.lost:
                await cb(message)

        is_log = subject.startswith("run.stored.")
        self.subscriptions += is_log
        return await self._client.subscribe(subject, cb=pass_on if is_log else cb, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Heard:
    """A listener that notes the steps."""

    wants_deltas = False

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.is_closed = False

    def arrived(self, arrival: Arrival) -> None:
        self.seqs += [step.seq for step in arrival.steps]

    def delta(self, data: bytes) -> None:
        raise AssertionError("nobody asked for deltas")

    def closed(self) -> None:
        self.is_closed = True


class Bench:
    def __init__(self, client: Client) -> None:
        self.client = Lossy(client)
        self.reader = LogReader(client)
        self.hub = Hub(self.client, self.reader, heartbeat_s=0.3)  # type: ignore[arg-type]  # stands in for it
        self.key = new_key()
        self._log = RunLog(client, Scrubber())
        self._seq = 0
        self._sequence = 0

    async def write(self, count: int) -> None:
        """So many messages of one step."""
        for _ in range(count):
            self._seq += 1
            step: Step = claimed(self.key, 1) if self._seq == 1 else result(self.key, self._seq, "x")
            self._sequence = await self._log.append(self.key, self._log.seal([step]), self._sequence)

    async def request(self) -> None:
        await self._log.request(self.key, self._log.seal([requested(self.key)]))


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    async with make_broker("watch", nats_url) as broker:
        made = Bench(client_of(broker))
        await made.request()
        checking = asyncio.create_task(made.hub.run())
        yield made
        await end(checking)


async def test_a_lost_message_is_read_when_the_next_one_arrives(bench: Bench) -> None:
    heard = Heard()
    bench.client.lost = {2, 3}
    async with bench.hub.watching(bench.key, heard, is_new=True):
        await bench.write(4)
        await eventually(lambda: heard.seqs == [1, 2, 3, 4], within_s=0.25)


async def test_a_lost_last_message_is_read_at_the_next_heartbeat(bench: Bench) -> None:
    heard = Heard()
    bench.client.lost = {3}
    async with bench.hub.watching(bench.key, heard, is_new=True):
        await bench.write(3)
        await eventually(lambda: heard.seqs == [1, 2, 3], within_s=3)


async def test_the_position_at_joining_divides_what_is_read_from_what_is_heard(bench: Bench) -> None:
    await bench.write(3)
    heard = Heard()
    async with bench.hub.watching(bench.key, heard) as position:
        await bench.write(2)
        await eventually(lambda: heard.seqs == [4, 5])
        page = await anext(bench.reader.pages(bench.key))
        assert position == page[2][0]


async def test_all_who_watch_a_run_share_one_subscription(bench: Bench) -> None:
    first, second = Heard(), Heard()
    async with bench.hub.watching(bench.key, first), bench.hub.watching(bench.key, second):
        await bench.write(1)
        await eventually(lambda: first.seqs == second.seqs == [1])
    assert bench.client.subscriptions == 1
    async with bench.hub.watching(bench.key, Heard()):
        assert bench.client.subscriptions == 2


async def test_who_left_hears_nothing_more(bench: Bench) -> None:
    stays, leaves = Heard(), Heard()
    async with bench.hub.watching(bench.key, stays):
        async with bench.hub.watching(bench.key, leaves):
            await bench.write(1)
            await eventually(lambda: leaves.seqs == [1])
        await bench.write(1)
        await eventually(lambda: stays.seqs == [1, 2])
    assert leaves.seqs == [1]


async def test_the_end_of_the_process_is_told_to_all_and_nobody_joins_after(bench: Bench) -> None:
    heard = Heard()
    async with bench.hub.watching(bench.key, heard):
        bench.hub.close()
        assert heard.is_closed
        with pytest.raises(Problem, match="stopping"):
            async with bench.hub.watching(RunKey("default", "x"), Heard()):
                pass


async def test_a_log_of_many_messages_is_read_by_pages_in_order(bench: Bench) -> None:
    await bench.write(600)
    pages = [page async for page in bench.reader.pages(bench.key)]
    assert [len(page) for page in pages] == [256, 256, 88]
    sequences = [sequence for page in pages for sequence, _ in page]
    assert sequences == sorted(set(sequences))
    rest = [page async for page in bench.reader.pages(bench.key, after=sequences[-3])]
    assert [len(page) for page in rest] == [2]
