"""kill -9 of the runner at any moment changes nothing about the result.

The whole stack runs as `studio up` starts it, with the simulator at temperature 0, so that an
undisturbed run says what every other one must come to.
"""

import os
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from nats.aio.msg import Msg

from shared.bus import client_of, make_broker
from shared.step_codec import decode_steps
from studio.stack.plan import Options
from studio.stack.supervisor import Stack
from studio.stack.watch import Backoff
from tests.support.waiting import eventually

PROMPT = {
    "prompt": "What is 5 + 10, then multiply by 3?",
    "parameters": {"temperature": 0, "random_seed": 7},
}
# After which stored step the runner dies: while it waits for the model, between tool and model, at the end.
MOMENTS = {
    "while the model is asked for the first time": ("run-claimed", 1),
    "when the first thought is stored": ("agent-thought", 1),
    "when the first tool has answered": ("tool-result", 1),
    "when the second thought is stored": ("agent-thought", 2),
    "when the end is stored and the job perhaps not acknowledged": ("run-finished", 1),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MISTRAL_")},
        "RUN_ACK_WAIT_S": "2",
        "LOG_LEVEL": "WARNING",
    }
    folder = tmp_path_factory.mktemp("stack")
    options = Options(environ=environ, fsync=False, backoff=Backoff(first_s=0.05, most_s=0.5))
    with Stack(folder / ".studio", options) as running:
        yield running


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
async def undisturbed(stack: Stack) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, timeout=60) as client:
        answer = await client.post("/api/runs?wait=30", json=PROMPT)
        assert answer.status_code == 200, answer.text
        return await _recorded(client, stack, answer.json()["run_id"])


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda name: name.replace(" ", "-"))
async def test_a_killed_runner_changes_neither_answer_nor_price(
    stack: Stack, client: httpx.AsyncClient, undisturbed: dict[str, Any], moment: str
) -> None:
    kind, count = MOMENTS[moment]
    async with _killing(stack, kind, count) as killed:
        accepted = await client.post("/api/runs?wait=60", json=PROMPT)
    assert accepted.status_code == 200, accepted.text
    assert killed, f"no {kind} number {count} was ever stored, so nothing was killed"
    run = await _recorded(client, stack, accepted.json()["run_id"])
    _assert_same(run, undisturbed)


async def test_a_runner_killed_before_the_job_arrives_changes_nothing(
    stack: Stack, client: httpx.AsyncClient, undisturbed: dict[str, Any]
) -> None:
    stack.server("runner").kill()
    accepted = await client.post("/api/runs?wait=60", json=PROMPT)
    assert accepted.status_code == 200, accepted.text
    _assert_same(await _recorded(client, stack, accepted.json()["run_id"]), undisturbed)


class _killing:  # noqa: N801 - a context manager, named for how it reads
    """Kill the runner as soon as the broker has stored the n-th step of a kind; truthy once it did."""

    def __init__(self, stack: Stack, kind: str, count: int) -> None:
        self._stack = stack
        self._kind = kind
        self._left = count
        self._broker = make_broker("test-killer", stack.nats_url)

    async def __aenter__(self) -> "_killing":
        await self._broker.connect()
        await client_of(self._broker).subscribe("run.stored.log.>", cb=self._stored)
        await client_of(self._broker).flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._broker.stop()

    def __bool__(self) -> bool:
        return self._left <= 0

    async def _stored(self, message: Msg) -> None:
        for step in decode_steps(message.data):
            if step.kind == self._kind:
                self._left -= 1
                if self._left == 0:
                    self._stack.server("runner").kill()


async def _recorded(client: httpx.AsyncClient, stack: Stack, run_id: str) -> dict[str, Any]:
    """The run once everything about it is in the database, price included."""
    database = await asyncpg.connect(stack.database_url)

    async def complete() -> bool:
        run = await database.fetchrow(
            "SELECT steps, model_calls, last_seq FROM runs WHERE run_id = $1", run_id
        )
        charges = await database.fetchval("SELECT count(*) FROM charges WHERE run_id = $1", run_id)
        return run is not None and run["steps"] == run["last_seq"] + 1 and charges == run["model_calls"]

    try:
        await eventually(complete, within_s=20)
    finally:
        await database.close()
    return dict((await client.get(f"/api/runs/{run_id}")).json())


def _assert_same(run: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    assert run["status"] == "completed"
    assert run["response"] == undisturbed["response"]
    assert Decimal(run["total_cost_usd"]) == Decimal(undisturbed["total_cost_usd"])
    assert run["total_tokens"] == undisturbed["total_tokens"]
    assert [step["seq"] for step in run["steps"]] == list(range(len(run["steps"])))
    kinds = [step["kind"] for step in run["steps"]]
    assert kinds.count("run-finished") == 1
    assert [kind for kind in kinds if kind != "run-claimed"] == [
        step["kind"] for step in undisturbed["steps"] if step["kind"] != "run-claimed"
    ]
