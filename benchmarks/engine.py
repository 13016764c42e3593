"""The engine: runs of 4 model calls and 3 tools, from the HTTP request to the recorded row."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg

from benchmarks.figures import Figure, at_least, below, median
from benchmarks.http_load import LoadClient
from benchmarks.stack import connect, stack
from studio.stack.supervisor import Stack

RUNS = 1000
AT_ONCE = 64
ONE_BY_ONE = 200
REPEATS = 3
PROMPT = {"prompt": "What is 5 + 10, then multiply by 3?"}
FINISHED = "SELECT count(*) FROM runs WHERE status = 'completed'"


async def measure() -> list[Figure]:
    with stack() as running:
        database = await connect(running)
        await _throughput(running, database, 200)  # warm: caches, prepared statements, pools
        rates = [await _throughput(running, database, RUNS) for _ in range(REPEATS)]
        latencies = await _one_by_one(running, database)
        await database.close()
    note = f"{RUNS} runs, {AT_ONCE} at once, {REPEATS} repeats"
    return [
        at_least("engine, 64 at once", rates, "runs/s", 300, note),
        below("engine, one at a time, p50", latencies, "ms", 9, f"{ONE_BY_ONE} runs"),
    ]


async def _throughput(running: Stack, database: asyncpg.Connection, runs: int) -> float:
    before = await database.fetchval(FINISHED)
    started = time.perf_counter()
    await _at_once(running, runs, _post)
    while await database.fetchval(FINISHED) < before + runs:
        await asyncio.sleep(0.002)
    return runs / (time.perf_counter() - started)


async def _at_once(running: Stack, count: int, work: Callable[[LoadClient], Awaitable[None]]) -> None:
    left = iter(range(count))

    async def worker() -> None:
        async with LoadClient(running.gateway_url, running.api_key) as client:
            for _ in left:
                await work(client)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def _post(client: LoadClient) -> None:
    status, run = await client.post("/api/runs?wait=30", PROMPT)
    if status != 200 or run["status"] != "completed":
        raise RuntimeError(f"a run ended with {status}: {run}")


async def _one_by_one(running: Stack, database: asyncpg.Connection) -> list[float]:
    """Milliseconds from sending the request until the run's row says completed."""
    row = await database.prepare("SELECT status FROM runs WHERE run_id = $1")
    latencies = []
    async with LoadClient(running.gateway_url, running.api_key) as client:
        for _ in range(ONE_BY_ONE):
            started = time.perf_counter()
            _, run = await client.post("/api/runs?wait=30", PROMPT)
            while await row.fetchval(run["run_id"]) != "completed":
                await asyncio.sleep(0)
            latencies.append((time.perf_counter() - started) * 1000)
    return latencies


async def accept_rate() -> list[Figure]:
    """How many runs the gateway takes a second, each on disk before its answer; nobody runs them."""
    with stack(without=("recorder", "cost")) as running:
        rates, waits = [], []
        for _ in range(REPEATS):
            latencies: list[float] = []

            async def post(client: LoadClient, latencies: list[float] = latencies) -> None:
                started = time.perf_counter()
                status, answer = await client.post("/api/runs", PROMPT)
                if status != 202:
                    raise RuntimeError(f"not accepted, {status}: {answer}")
                latencies.append((time.perf_counter() - started) * 1000)

            started = time.perf_counter()
            await _at_once(running, RUNS, post)
            rates.append(RUNS / (time.perf_counter() - started))
            waits.append(median(latencies))
    return [
        Figure("gateway, accepted", median(rates), "runs/s", note="64 at once, runner at work beside it"),
        Figure("gateway, accepted, p50", median(waits), "ms"),
    ]
