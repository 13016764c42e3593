"""Replays: recorded runs verified, one long run and a thousand short ones, from the order to the verdict."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.engine import PROMPT
from benchmarks.figures import Figure, below
from benchmarks.http_load import LoadClient
from benchmarks.stack import stack

RUNS = 1000
AT_ONCE = 64
CHUNK = 250
REPEATS = 3
SINGLE = 20
LONG = {"prompt": "What is 5 + 10, in 32 rounds?", "max_rounds": 40}
"""A run of 102 steps."""


async def measure() -> list[Figure]:
    with stack() as running:
        async with LoadClient(running.gateway_url, running.api_key) as client:
            long_run = await _run(client, LONG)
            await _verify(client, [long_run])  # warm
            singles = [await _timed(client, [long_run]) * 1000 for _ in range(SINGLE)]
            runs = await _recorded(running.gateway_url, running.api_key)
            alls = [await _timed(client, runs) for _ in range(REPEATS)]
    return [
        below("a run of 102 steps verified", singles, "ms", 100, f"order to verdict, {SINGLE} times"),
        below("1,000 runs verified", alls, "s", 60, f"14 steps each, {CHUNK} to an order, {REPEATS} times"),
    ]


async def _recorded(url: str, key: str) -> list[str]:
    left, found = iter(range(RUNS)), list[str]()

    async def worker() -> None:
        async with LoadClient(url, key) as client:
            for _ in left:
                found.append(await _run(client, PROMPT))

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    return found


async def _run(client: LoadClient, order: dict[str, Any]) -> str:
    status, run = await client.post("/api/runs?wait=30", order)
    if status != 200 or run["status"] != "completed":
        raise RuntimeError(f"a run ended with {status}: {run}")
    return str(run["run_id"])


async def _timed(client: LoadClient, runs: Sequence[str]) -> float:
    started = time.perf_counter()
    await _verify(client, runs)
    return time.perf_counter() - started


async def _verify(client: LoadClient, runs: Sequence[str]) -> None:
    """Raises RuntimeError unless every run is equal to its record."""
    orders = [
        await client.post("/api/replays", {"mode": "verify", "run_ids": list(runs[start : start + CHUNK])})
        for start in range(0, len(runs), CHUNK)
    ]
    for status, order in orders:
        if status != 202:
            raise RuntimeError(f"not accepted, {status}: {order}")
        replay = await _ended(client, order["replay_id"])
        told = replay["result"]["verification"]
        if replay["status"] != "completed" or told["diverged"] or told["failed"]:
            raise RuntimeError(f"not all are equal: {told}")


async def _ended(client: LoadClient, replay_id: str) -> Any:
    async with asyncio.timeout(120):
        while True:
            _, replay = await client.get(f"/api/replays/{replay_id}")
            if replay.get("finished_at") is not None:
                return replay
            await asyncio.sleep(0.005)
