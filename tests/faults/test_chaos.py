"""Clients work while processes die and stop at random; afterwards the history must be as if none had.

CHAOS_SECONDS and CHAOS_SEED make a soak of it. What the history must be is in `tests/support/history.py`.
The seed decides who does what; when exactly it hits, the machine decides.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from nats.errors import Error as NatsError

from shared.bus import COST, RECORDER, REPLAYER, REPLAYER_ENDS, client_of, jetstream, make_broker
from studio.stack.plan import Options
from studio.stack.processes import BROKER, DATABASE, RUNNER, TABLE, Table
from studio.stack.supervisor import Stack
from studio.stack.watch import Backoff
from tests.support.events import parsed
from tests.support.history import Order, Stored, parsed_steps, unsettled, violations
from tests.support.rehearsed import check_broker
from tests.support.waiting import eventually

SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "648"))
CLIENTS = 8
AGENTS = ({"name": "helper"}, {"name": "asker", "agents": ["helper"], "tools": []})
BUDGET_USD = 20.0  # enough for every call that a killed runner loses
STORMS = 2
RUNNERS = (RUNNER, "runner-2")
# Longer than the wait for an acknowledgement: another has the run when it wakes.
ZOMBIE_S = 2.8
ACK_WAIT_S = 2
SETTLE_S = 90.0
SAMPLES = {"verify": 1, "rerun": 3}
FINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Kind:
    """A kind of prompt; `{n}` is a mark of its own."""

    prompt: str
    statuses: frozenset[str] = frozenset({"completed"})
    marks: bool = False
    padding: int = 0
    agent: str = "assistant"


FAILED = frozenset({"failed"})
KINDS = {
    "arithmetic": Kind("What is 5 + 10, then multiply by 3? Order {n}"),
    "append": Kind("Append '{n};' to log.txt, then read log.txt.", marks=True),
    "large": Kind("What is 12 * 12? Order {n}", padding=100_000),
    "429": Kind("What is 7 * 6? Order {n} [[simulate: 429 0.1s x2]]"),
    "500": Kind("Append '{n};' to log.txt [[simulate: 500 x1 @2]]", marks=True),
    "400": Kind("What is 7 * 6? Order {n} [[simulate: 400]]", FAILED),
    "cut-stream": Kind("What is 7 * 8? Order {n} [[simulate: cut-stream x1]]"),
    "bad-json": Kind("What is 6 * 9? Order {n} [[simulate: bad-json]]"),
    "endless-tools": Kind("What is 6 * 7? Order {n} [[simulate: endless-tools]]", FAILED),
    "hang": Kind("What is 2 + 2? Order {n} [[simulate: hang 2s x1]]"),
    "tree": Kind('Use ask_helper for "What is 5 + 10? Order {n}"', agent="asker"),
    "slow": Kind("Append '{n};' to log.txt [[simulate: slow 3s]]", marks=True),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MISTRAL_")},
        "RUN_ACK_WAIT_S": str(ACK_WAIT_S),
        "SIMULATOR_LATENCY_SCALE": "0.1",
        "MISTRAL_RETRY_MIN_WAIT": "0.05",
        "MISTRAL_RETRY_MAX_WAIT": "0.5",
        "LOG_LEVEL": os.environ.get("CHAOS_LOG_LEVEL", "WARNING"),
    }
    again = replace(TABLE.service(RUNNER), name=RUNNERS[1], port=8004, app=TABLE.service(RUNNER).factory)
    options = Options(
        environ=environ,
        fsync=False,
        table=Table(TABLE.steps, (*TABLE.services, again)),
        backoff=Backoff(first_s=0.05, most_s=0.5),
    )
    with Stack(tmp_path_factory.mktemp("chaos") / ".studio", options) as running:
        yield running


@pytest.fixture(scope="module")
async def impatient(stack: Stack) -> None:
    """What a killed service had in hand comes back after seconds, as a runner's job does."""
    async with make_broker("test-setup", stack.nats_url) as broker:
        for durable in (RECORDER, COST, REPLAYER, REPLAYER_ENDS):
            config = replace(durable, ack_wait_s=ACK_WAIT_S).config(1)
            await jetstream(client_of(broker)).add_consumer(durable.stream, config)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, timeout=5) as http:
        yield http


@pytest.mark.usefixtures("impatient")
@pytest.mark.timeout(SECONDS + 2 * SETTLE_S)
async def test_the_history_of_a_disturbed_stack_is_that_of_an_undisturbed_one(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    for agent in AGENTS:
        assert (await http.post("/api/agents", json=agent)).status_code == 201
    until = monotonic() + SECONDS
    storms = [Chaos(stack, Random(f"{SEED}-storm-{n}")).reign(until) for n in range(STORMS)]
    clients = [ChaosClient(http, Random(f"{SEED}-{n}"), f"c{n}") for n in range(CLIENTS)]
    await asyncio.gather(*storms, *(client.work(until) for client in clients))
    orders = [order for client in clients for order in client.orders]
    assert len(orders) >= CLIENTS
    stored = await _settled(stack)
    for client in clients:
        await client.look_for_deleted()
    found = violations(orders, stored, stack.folder.workspace)
    _report(stack, orders, stored)
    assert not found, "\n".join(found)
    assert await check_broker(stack.nats_url), "nothing was left to rehearse"


async def _settled(stack: Stack) -> Stored:
    """The history once no consumer has anything left to do, or will not come to it within the bound."""

    async def connected() -> asyncpg.Connection | None:
        with suppress(OSError, asyncpg.PostgresError):  # it may have been killed a moment ago
            return await asyncpg.connect(stack.database_url)
        return None

    database = await eventually(connected, within_s=SETTLE_S)
    await eventually(stack.server("nats").healthy, within_s=SETTLE_S)
    try:
        async with make_broker("test-history", stack.nats_url) as broker:
            client = client_of(broker)

            async def is_quiet() -> bool:
                with suppress(NatsError):
                    return not await unsettled(client, database)
                return False

            with suppress(AssertionError):  # what is not as it should be, the check says better
                await eventually(is_quiet, within_s=SETTLE_S, every_s=0.2)
            return await Stored.read(client, database)
    finally:
        await database.close()


def _report(stack: Stack, orders: list[Order], stored: Stored) -> None:
    """Shown when the check fails, or with -s."""
    attempts = dict(Counter(run["attempt"] for run in stored.runs.values()))
    restarts = {each.name: each.restarts for each in stack.state.processes}
    print(f"{len(orders)} orders, attempts {attempts}, restarts {restarts}")


class Chaos:
    """Kills a process, or stops it for a while, again and again."""

    def __init__(self, stack: Stack, random: Random) -> None:
        self._stack = stack
        self._random = random
        self._targets = [*RUNNERS, "recorder", "cost", "replayer", "gateway", BROKER, DATABASE]

    async def reign(self, until: float) -> None:
        while monotonic() < until:
            await asyncio.sleep(self._random.uniform(0.1, 0.7))
            name = self._random.choices(self._targets, weights=[3, 3, 2, 1, 2, 1, 1, 1])[0]
            if self._random.random() < 0.6:
                await asyncio.to_thread(self._kill, name)
            else:
                await self._stop(name, ZOMBIE_S if name in RUNNERS else self._random.choice([0.3, 1.0]))

    def _kill(self, name: str) -> None:
        server = self._stack.server(name)
        with suppress(psutil.NoSuchProcess):
            if server.running:
                server.kill()

    async def _stop(self, name: str, seconds: float) -> None:
        family = self._family(name)
        try:
            _send(family, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            _send(family, signal.SIGCONT)

    def _family(self, name: str) -> list[psutil.Process]:
        server = self._stack.server(name)
        if not server.running:
            return []
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(server.pid)
            return [process, *process.children(recursive=True)]
        return []


def _send(family: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


class ChaosClient:
    """Orders runs one after the other, some twice, and watches, cancels or deletes some of them."""

    def __init__(self, http: httpx.AsyncClient, random: Random, name: str) -> None:
        self._http = http
        self._random = random
        self._name = name
        self.orders: list[Order] = []

    async def work(self, until: float) -> None:
        while monotonic() < until:
            name = self._random.choice(list(KINDS))
            await self._order(name, KINDS[name])

    async def look_for_deleted(self) -> None:
        for order in self.orders:
            if order.is_deleted:
                await self._change(order, "GET", "", {404})

    async def _order(self, name: str, kind: Kind) -> None:
        mark = f"{self._name}-{len(self.orders)}"
        order = Order(mark, name, kind.statuses, mark if kind.marks else "")
        self.orders.append(order)
        body = {
            "prompt": kind.prompt.format(n=mark),
            "instructions": "Be exact. " + "x" * kind.padding,
            "parameters": {"temperature": 0, "random_seed": 7},
            "max_rounds": 3,
            "agent": kind.agent,
            "budget_usd": self._random.choice([None, BUDGET_USD]),
            "session_id": f"session-{self._random.randrange(3)}",
        }
        twice = 2 if self._random.random() < 0.3 else 1
        await asyncio.gather(*(self._post(order, body) for _ in range(twice)))
        fates = ("leave", "watch", "watch", "cancel", "delete", "repeat", *SAMPLES)
        fate = self._random.choice(fates)
        if fate == "watch":
            await self._watch(order)
        elif fate == "cancel":
            order.statuses |= {"cancelled"}
            await asyncio.sleep(self._random.uniform(0, 0.5))
            await self._change(order, "POST", "/cancel", {202, 409})
        elif fate == "delete":
            await self._delete(order)
        elif fate in SAMPLES:
            await self._replay(order, fate)
        elif fate == "repeat":
            await asyncio.sleep(self._random.uniform(0, 1))
            await self._post(order, body)

    async def _post(self, order: Order, body: dict[str, Any]) -> None:
        answer = await self._asked(
            order, "POST", "/api/runs", {202}, json=body, headers={"Idempotency-Key": order.key}
        )
        if answer.status_code == 202:
            order.run_ids.add(answer.json()["run_id"])

    async def _change(self, order: Order, method: str, path: str, wanted: set[int]) -> httpx.Response:
        return await self._asked(order, method, f"/api/runs/{order.run_id}{path}", wanted)

    async def _asked(
        self, order: Order, method: str, path: str, wanted: set[int], **content: Any
    ) -> httpx.Response:
        """The first answer that is neither missing nor 503; one that was not wanted is noted."""
        deadline = monotonic() + SETTLE_S
        while True:
            with suppress(httpx.TransportError):
                answer = await self._http.request(method, path, **content)
                if answer.status_code in wanted:
                    return answer
                if answer.status_code != 503:
                    order.surprises.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                    return answer
            assert monotonic() < deadline, f"{method} {path} was not answered"
            await asyncio.sleep(0.1)

    async def _watch(self, order: Order) -> None:
        """Follow the run to its end over connections that break off at random."""
        order.watched = []
        deadline = monotonic() + SETTLE_S
        while monotonic() < deadline:
            with suppress(httpx.TransportError):
                if await self._watch_once(order, order.watched, self._random.randrange(1, 8)):
                    return
            await asyncio.sleep(0.05)
        order.surprises.append(f"its watcher saw no end after {order.watched}")

    async def _watch_once(self, order: Order, seen: list[int], patience: int) -> bool:
        """Whether the end came; leaves after so many events."""
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        async with self._http.stream("GET", f"/api/runs/{order.run_id}/events", headers=headers) as answer:
            if answer.status_code != 200:
                if answer.status_code != 503:
                    order.surprises.append(f"watching: {answer.status_code}")
                return False
            async for event in parsed(answer):
                if event.name == "step":
                    seen.append(event.data["seq"])
                if event.name == "end":
                    return True
                patience -= event.name == "step"
                if patience <= 0:
                    return False
        return False

    async def _replay(self, order: Order, mode: str) -> None:
        await self._ended(order)
        body: dict[str, Any] = {"run_id": order.run_id, "mode": mode}
        body |= {"samples": SAMPLES[mode]} if mode == "rerun" else {}
        headers = {"Idempotency-Key": f"{order.key}-replay"}
        answer = await self._asked(order, "POST", "/api/replays", {202}, json=body, headers=headers)
        if answer.status_code == 202:
            order.replays[answer.json()["replay_id"]] = SAMPLES[mode]

    async def _ended(self, order: Order) -> dict[str, Any]:
        async def is_final() -> dict[str, Any] | None:
            run: dict[str, Any] = (await self._change(order, "GET", "", {200})).json()
            return run if run["status"] in FINAL else None

        ended: dict[str, Any] = await eventually(is_final, within_s=SETTLE_S, every_s=0.1)
        return ended

    async def _delete(self, order: Order) -> None:
        run = await self._ended(order)
        order.before_deletion = parsed_steps(run["steps"])
        await self._change(order, "DELETE", "", {202, 204, 404})
