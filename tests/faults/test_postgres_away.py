"""Postgres is away for twenty seconds: runs go on, can be read from their logs, and are recorded after."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import psutil
import pytest

from studio.stack.plan import Options
from studio.stack.supervisor import Stack
from tests.support.waiting import eventually

AWAY_S = 20.0
RUNS = 20


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    user = {name: value for name, value in os.environ.items() if not name.startswith("MISTRAL_")}
    environ = {**user, "SIMULATOR_LATENCY_SCALE": "0", "LOG_LEVEL": "WARNING"}
    folder = tmp_path_factory.mktemp("stack") / ".studio"
    with Stack(folder, Options(environ=environ, fsync=False)) as running:
        yield running


async def test_runs_go_on_while_postgres_is_away_and_are_recorded_afterwards(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, timeout=30) as client:
        await _run(client, 0)  # the gateway has seen the key
        async with _postgres_away(stack):
            finished = await asyncio.gather(*(_run(client, number) for number in range(1, RUNS + 1)))
            shown = await asyncio.gather(*(client.get(f"/api/runs/{run_id}") for run_id in finished))
            assert {answer.json()["status"] for answer in shown} == {"completed"}, "read from the log"
    database = await asyncpg.connect(stack.database_url)
    try:
        await eventually(lambda: _all_recorded(database, finished), within_s=30)
    finally:
        await database.close()


async def _run(client: httpx.AsyncClient, number: int) -> str:
    answer = await client.post("/api/runs?wait=20", json={"prompt": f"What is {number} + 10, then times 3?"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"
    return str(answer.json()["run_id"])


@asynccontextmanager
async def _postgres_away(stack: Stack) -> AsyncIterator[None]:
    """Every process of the server is stopped: connections stay open and nobody answers."""
    main = psutil.Process(stack.server("postgres").pid)
    everyone = [main, *main.children(recursive=True)]
    until = asyncio.get_running_loop().time() + AWAY_S
    for process in everyone:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
        await asyncio.sleep(until - asyncio.get_running_loop().time())  # the time away is the test
    finally:
        for process in everyone:
            process.send_signal(signal.SIGCONT)


async def _all_recorded(database: asyncpg.Connection, runs: list[str]) -> bool:
    """Each run's row is the fold of its steps, each step is there once, and each model call is charged."""
    rows = await database.fetch(
        """
        SELECT r.steps = r.last_seq + 1 AND r.steps = (SELECT count(*) FROM steps s WHERE s.run_id = r.run_id)
               AND r.model_calls = (SELECT count(*) FROM charges c WHERE c.run_id = r.run_id) AS complete
        FROM runs r WHERE r.run_id = ANY($1::uuid[]) AND r.status = 'completed'
        """,
        runs,
    )
    return len(rows) == len(runs) and all(row["complete"] for row in rows)
