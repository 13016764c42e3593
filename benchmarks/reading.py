"""Reading: lists over a million runs, a run of 50,000 steps; and what the idle stack needs."""

import asyncio
import time
from typing import Any

import asyncpg
import psutil
from uuid_utils import uuid7

from benchmarks.figures import Figure, below, percentile
from benchmarks.http_load import LoadClient
from benchmarks.stack import connect, stack
from studio.stack.supervisor import Stack

RUNS = 1_000_000
STEPS = 50_000
READS = 200

# Run ids that grow with time, as the gateway's do; one run in fifty failed, one in a hundred is searched for.
SEED_RUNS = """
INSERT INTO runs (run_id, project, status, status_seq, agent, agent_version, model, prompt, response,
                  response_seq, user_id, group_name, created_at, started_at, finished_at, last_seq, steps)
SELECT uuidv7(make_interval(secs => n - $1)), 'default',
       CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END, 14, 'assistant', 1,
       CASE WHEN n % 3 = 0 THEN 'mistral-small-latest' ELSE 'mistral-large-latest' END,
       'prompt ' || n, 'answer ' || n, 12, 'user-' || n % 1000, CASE WHEN n % 100 = 0 THEN 'nightly' END,
       now(), now(), now(), 14, 15
FROM generate_series(1, $1::int) AS n
"""


# Steps of one long run, each with a tool's result of a line.
SEED_STEPS = """
INSERT INTO steps (run_id, seq, project, kind, at, payload)
SELECT $1::uuid, n, 'default', 'tool-result', now(), json_build_object(
    'run_id', $1::text, 'seq', n, 'at', now(), 'project', 'default', 'attempt', 1, 'writer', 'bench',
    'kind', 'tool-result', 'call_id', 'call' || n, 'tool', 'calculator', 'status', 'ok',
    'result', n || ' + 1 = ' || n + 1, 'latency_ms', 1)
FROM generate_series(0, $2::int - 1) AS n
"""
SEED_LONG_RUN = """
INSERT INTO runs (run_id, project, status, status_seq, agent, agent_version, model, prompt,
                  response_seq, user_id, created_at, started_at, finished_at, last_seq, steps)
VALUES ($1, 'default', 'completed', $2 - 1, 'assistant', 1, 'mistral-large-latest', 'a long run',
        0, 'default', now(), now(), now(), $2 - 1, $2)
"""


async def measure() -> list[Figure]:
    started = time.perf_counter()
    with stack() as running:
        database = await connect(running)
        async with LoadClient(running.gateway_url, running.api_key) as client:
            await client.post("/api/runs?wait=30", {"prompt": "What is 5 + 10?"})
            first_run = below(
                "first run after the command", [time.perf_counter() - started], "s", 10, "an empty folder"
            )
        figures = [first_run, _idle(running)]
        await _seed(database)
        async with LoadClient(running.gateway_url, running.api_key) as client:
            figures += [
                await _read(
                    client, "newest 50 of 1,000,000 runs, failed only, p95", "/api/runs?status=failed"
                ),
                await _read(client, "newest 50 of one user, p95", "/api/runs?user_id=user-77"),
                await _read(client, "newest 50 of one group, p95", "/api/runs?group=nightly"),
                await _first_window(client, await _seed_long_run(database)),
            ]
        await database.close()
    return figures


def _idle(running: Stack) -> Figure:
    processes = [psutil.Process(process.pid) for process in running.state.processes if process.pid]
    everyone = {p for parent in processes for p in [parent, *parent.children(recursive=True)]}
    resident = sum(_own_memory(process) for process in everyone) / 2**20
    note = "proportional set size: shared memory counts once"
    return below("idle stack, resident", [resident], "MiB", 1024, note)


def _own_memory(process: psutil.Process) -> int:
    """Proportional set size: Postgres' processes share most of their memory."""
    return int(process.memory_full_info().pss)


async def _seed(database: asyncpg.Connection) -> None:
    await database.execute("SET synchronous_commit = off")
    await database.execute(SEED_RUNS, RUNS, timeout=300)
    await database.execute("VACUUM ANALYZE runs", timeout=300)


async def _seed_long_run(database: asyncpg.Connection) -> str:
    run_id = str(uuid7())
    await database.execute(SEED_LONG_RUN, run_id, STEPS)
    await database.execute(SEED_STEPS, run_id, STEPS, timeout=300)
    await database.execute("VACUUM ANALYZE steps", timeout=300)
    return run_id


async def _read(client: LoadClient, name: str, path: str) -> Figure:
    times, pages = await _times(client, path)
    if any(len(page["items"]) != 50 for page in pages):
        raise RuntimeError(f"{path} answered with fewer than 50 items")
    return below(name, [percentile(times, 0.95)], "ms", 50, f"{READS} reads over HTTP")


async def _first_window(client: LoadClient, run_id: str) -> Figure:
    times, pages = await _times(client, f"/api/runs/{run_id}")
    shown = len(pages[0]["steps"])
    name = f"first window of a run of {STEPS:,} steps, p95"
    return below(name, [percentile(times, 0.95)], "ms", 200, f"{shown} steps, {READS} reads over HTTP")


async def _times(client: LoadClient, path: str) -> tuple[list[float], list[Any]]:
    """Milliseconds of each read, and what was read."""
    times, pages = [], []
    async with asyncio.timeout(60):
        for _ in range(READS):
            started = time.perf_counter()
            status, page = await client.get(path)
            times.append((time.perf_counter() - started) * 1000)
            pages.append(page)
            if status != 200:
                raise RuntimeError(f"{path} answered {status}: {page}")
    return times, pages
