"""Two writers on one run, on a replicated stream of three real servers: one winner, never two.

A single server hides this race: only a cluster has appends that are accepted and not yet stored.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from shared.bus import RUNS, BusSettings, client_of, declare, jetstream, make_broker
from shared.errors import Conflict, Unavailable
from shared.run_log import RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.steps import UserRequest
from shared.subjects import RunKey
from studio.stack.nats import NatsServer
from tests.support.cluster import leader_of, nats_cluster, settled, step_down
from tests.support.steps import claimed, make, new_key, requested
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsServer]]:
    with nats_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


async def _declared(client: Client, settings: BusSettings) -> bool:
    try:
        await declare(jetstream(client), settings)
    except (APIError, NatsError):  # a cluster that has just formed refuses for a moment
        return False
    return True


@pytest.fixture
async def logs(servers: list[NatsServer]) -> AsyncIterator[list[RunLog]]:
    """One writer on each server."""
    await settled(servers)
    settings = BusSettings(nats_url=servers[0].url, nats_replicas=3, runs_max_bytes=64 * 2**20)
    async with AsyncExitStack() as stack:
        brokers = [
            await stack.enter_async_context(make_broker(f"writer{n}", server.url))
            for n, server in enumerate(servers)
        ]
        clients = [client_of(broker) for broker in brokers]
        await eventually(lambda: _declared(clients[0], settings), within_s=20)
        info = await jetstream(clients[0]).stream_info(RUNS)
        assert info.config.num_replicas == 3
        yield [RunLog(client, Scrubber()) for client in clients]


async def attempt(log: RunLog, key: RunKey, seq: int, expected: int) -> int | Conflict:
    step = make(UserRequest, key, seq, content=f"{seq} by {log.writer}", writer=log.writer)
    try:
        return await log.append(key, log.seal([step]), expected)
    except Conflict as conflict:
        return conflict


async def race(logs: Sequence[RunLog], key: RunKey, seq: int, expected: int) -> tuple[int, str]:
    """All write the step `seq` at once; the sequence and the writer of the one that won."""
    outcomes = await asyncio.gather(*(attempt(log, key, seq, expected) for log in logs))
    won = [(out, log.writer) for out, log in zip(outcomes, logs, strict=True) if isinstance(out, int)]
    assert len(won) == 1, f"step {seq}: {outcomes}"
    return won[0]


async def read_fresh(log: RunLog, key: RunKey) -> list[str]:
    """The words of the run's steps, once the replica that is asked is not behind."""

    async def read() -> list[str] | None:
        try:
            found = await log.read(key, fresh=True)
        except Unavailable:
            return None
        fold([requested(key), *found.steps])
        return [str(getattr(step, "content", step.kind)) for step in found.steps]

    words: list[str] = await eventually(read, within_s=10)
    return words


async def test_each_round_has_one_winner_while_leaders_change(logs: list[RunLog]) -> None:
    key, expected, winners = new_key(), 0, []
    writers = logs[:2]
    for seq in range(1, 121):
        if seq in {40, 80}:
            await step_down(logs[2]._client, RUNS)
        expected, winner = await race(writers, key, seq, expected)
        winners.append(f"{seq} by {winner}")
    assert await read_fresh(logs[2], key) == winners


async def test_of_three_first_appends_to_a_run_one_is_stored(logs: list[RunLog]) -> None:
    async def one(key: RunKey) -> None:
        _, winner = await race(logs, key, 1, 0)
        assert await read_fresh(logs[0], key) == [f"1 by {winner}"]

    for _ in range(10):
        await asyncio.gather(*(one(new_key()) for _ in range(10)))


async def test_appends_in_flight_do_not_let_a_stale_one_through(logs: list[RunLog]) -> None:
    """The second writer knows the sequence of before: it must lose even while the first is on its way."""
    for _ in range(40):
        key = new_key()
        first = await logs[0].append(key, logs[0].seal([claimed(key, 1)]), 0)
        racing = asyncio.gather(attempt(logs[0], key, 2, first), attempt(logs[1], key, 1, 0))
        ahead, stale = await racing
        assert isinstance(ahead, int)
        assert isinstance(stale, Conflict)


async def test_repeating_the_own_append_is_recognised_on_replicas_too(logs: list[RunLog]) -> None:
    key = new_key()
    sealed = logs[0].seal([claimed(key, 1)])
    first = await logs[0].append(key, sealed, 0)
    assert await logs[0].append(key, sealed, 0) == first
    with pytest.raises(Conflict):
        await logs[1].append(key, logs[1].seal([claimed(key, 1)]), 0)
    assert len(await read_fresh(logs[1], key)) == 1


async def test_a_killed_leader_costs_no_acknowledged_step(
    logs: list[RunLog], servers: list[NatsServer]
) -> None:
    key, expected, written = new_key(), 0, []
    leader = await eventually(lambda: leader_of(logs[0]._client, RUNS))
    victim = next(server for server in servers if server.folder.name == leader)
    survivors = [log for log, server in zip(logs, servers, strict=True) if server is not victim]
    try:
        for seq in range(1, 31):
            if seq == 15:
                await asyncio.to_thread(victim.kill)
            expected, winner = await race(survivors, key, seq, expected)
            written.append(f"{seq} by {winner}")
        assert await read_fresh(survivors[0], key) == written
    finally:
        await asyncio.to_thread(victim.start)
    await settled(servers)
    await eventually(lambda: logs[servers.index(victim)]._client.is_connected, within_s=10)
    assert await read_fresh(logs[servers.index(victim)], key) == written
