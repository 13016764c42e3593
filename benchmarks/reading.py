"""Reading: lists over a million runs, a run of 50,000 steps; and what the idle stack needs."""

import asyncio
import time

import asyncpg
import psutil

from benchmarks.figures import Figure, below, percentile
from benchmarks.http_load import LoadClient
from benchmarks.stack import connect, stack
from studio.stack.supervisor import Stack

RUNS = 1_000_000
STEPS = 50_000
READS = 200
BIG_RUN = "01930000-0000-7000-8000-000000000001"

# Run ids that grow with time, as the gateway's do; one run in fifty failed, one in a hundred is searched for.
SEED_RUNS = """
INSERT INTO runs (run_id, project, status, status_seq, agent, agent_version, model, prompt, response,
                  user_id, group_name, created_at, started_at, finished_at, last_seq, steps)
SELECT uuidv7(make_interval(secs => n - $1)), 'default',
       CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END, 14, 'assistant', 1,
       CASE WHEN n % 3 = 0 THEN 'mistral-small-latest' ELSE 'mistral-large-latest' END,
       'prompt ' || n, 'answer ' || n, 'user-' || n % 1000, CASE WHEN n % 100 = 0 THEN 'nightly' END,
       now(), now(), now(), 14, 15
FROM generate_series(1, $1::int) AS n
"""


async def measure() -> list[Figure]:
    with stack(without=("recorder", "cost")) as running:
        figures = _idle(running)
        database = await connect(running)
        await _seed(database)
        async with LoadClient(running.gateway_url, running.api_key) as client:
            figures += [
                await _read(
                    client, "newest 50 of 1,000,000 runs, failed only, p95", "/api/runs?status=failed"
                ),
                await _read(client, "newest 50 of one user, p95", "/api/runs?user_id=user-77"),
                await _read(client, "newest 50 of one group, p95", "/api/runs?group=nightly"),
            ]
        await database.close()
    return figures


def _idle(running: Stack) -> list[Figure]:
    processes = [psutil.Process(process.pid) for process in running.state.processes if process.pid]
    everyone = {p for parent in processes for p in [parent, *parent.children(recursive=True)]}
    resident = sum(_own_memory(process) for process in everyone) / 2**20
    return [below("idle stack, resident", [resident], "MiB", 1024, "unique and shared once (PSS)")]


def _own_memory(process: psutil.Process) -> int:
    """Proportional set size: Postgres' processes share most of their memory."""
    return int(process.memory_full_info().pss)


async def _seed(database: asyncpg.Connection) -> None:
    await database.execute("SET synchronous_commit = off")
    await database.execute(SEED_RUNS, RUNS, timeout=300)
    await database.execute("VACUUM ANALYZE runs", timeout=300)


async def _read(client: LoadClient, name: str, path: str) -> Figure:
    times = []
    async with asyncio.timeout(60):
        for _ in range(READS):
            started = time.perf_counter()
            status, page = await client.get(path)
            times.append((time.perf_counter() - started) * 1000)
            if status != 200 or len(page["items"]) != 50:
                raise RuntimeError(f"{path} answered {status} with {len(page.get('items', []))} items")
    return below(name, [percentile(times, 0.95)], "ms", 50, f"{READS} reads over HTTP")
