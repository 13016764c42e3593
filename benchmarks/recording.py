"""Recording: steps from the log until they can be queried, without gateway and runner."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
from uuid_utils import uuid7

from benchmarks.figures import Figure, at_least, below, median, percentile
from benchmarks.stack import connect, stack
from shared.bus import client_of, make_broker
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import (
    AgentRef,
    AgentResponse,
    AgentThought,
    Effect,
    MemorySnapshot,
    ModelCall,
    RequestedToolCall,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    Step,
    ToolCall,
    ToolResult,
    Usage,
    UserRequest,
    now,
)
from shared.subjects import RunKey

RUNS = 2000
WRITERS = 16
REPEATS = 3
STEADY_STEPS_S = 1000
STEADY_S = 10
Write = Callable[[RunLog, list[Step]], Awaitable[None]]


async def measure() -> list[Figure]:
    with stack(without=("gateway", "runner")) as running:
        database = await connect(running)
        async with make_broker("bench", running.nats_url) as broker:
            log = RunLog(client_of(broker), Scrubber())
            await _burst(log, database, 200, _write)
            rates = [await _burst(log, database, RUNS, _write_at_once) for _ in range(REPEATS)]
            live = [await _burst(log, database, RUNS, _write) for _ in range(REPEATS)]
            lags = await _steady(log, database)
        await database.close()
    steps = len(_run_steps(str(uuid7())))
    how = f"{RUNS} runs of {steps} steps, {WRITERS} writers, {REPEATS} repeats"
    return [
        at_least("recording", rates, "steps/s", 12_000, f"{how}, a run in 2 messages"),
        Figure("recording, as a runner writes", median(live), "steps/s", note="the same runs in 3 messages"),
        below(
            "recording lag at 1,000 steps/s, p95", [percentile(lags, 0.95)], "ms", 500, "written to queryable"
        ),
    ]


async def _burst(log: RunLog, database: asyncpg.Connection, runs: int, write: Write) -> float:
    """Steps per second from the first append until the last step can be queried."""
    before = await database.fetchval("SELECT count(*) FROM steps")
    prepared = [_run_steps(str(uuid7())) for _ in range(runs)]
    total = sum(len(steps) for steps in prepared)
    left = iter(prepared)

    async def writer() -> None:
        for steps in left:
            await write(log, steps)

    started = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(writer())
    async with asyncio.timeout(120):
        while await database.fetchval("SELECT count(*) FROM steps") < before + total:
            await asyncio.sleep(0.005)
    return total / (time.perf_counter() - started)


async def _steady(log: RunLog, database: asyncpg.Connection) -> list[float]:
    """Milliseconds from a run's last append until its last step can be queried, at a steady rate."""
    found = await database.prepare("SELECT 1 FROM steps WHERE run_id = $1 AND kind = 'run-finished'")
    load = asyncio.create_task(_load(log))
    lags: list[float] = []
    while not load.done():
        run_id = str(uuid7())
        await _write(log, _run_steps(run_id))
        written = time.perf_counter()
        while await found.fetchval(run_id) is None:
            await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - written) * 1000)
    await load
    return lags


async def _load(log: RunLog) -> None:
    interval = len(_run_steps(str(uuid7()))) / STEADY_STEPS_S
    async with asyncio.TaskGroup() as group:
        for _ in range(round(STEADY_S / interval)):
            group.create_task(_write(log, _run_steps(str(uuid7()))))
            await asyncio.sleep(interval)


async def _write_at_once(log: RunLog, steps: list[Step]) -> None:
    """As an import does: the job, and everything after it."""
    key = RunKey("default", steps[0].run_id)
    await log.request(key, log.seal(steps[:1]))
    await log.append(key, log.seal(steps[1:]), 0)


async def _write(log: RunLog, steps: list[Step]) -> None:
    """As a runner does whose model answers at once."""
    key = RunKey("default", steps[0].run_id)
    await log.request(key, log.seal(steps[:1]))
    sequence = await log.append(key, log.seal(steps[1:3]), 0)
    await log.append(key, log.seal(steps[3:]), sequence)


def _run_steps(run_id: str) -> list[Step]:
    """The steps of a run of four model calls and three tools."""
    start = now()
    seq = iter(range(100))

    def envelope() -> dict[str, object]:
        index = next(seq)
        return {
            "run_id": run_id,
            "seq": index,
            "at": start + timedelta(milliseconds=index),
            "project": "default",
            "writer": "bench",
            "attempt": 1,
        }

    call = ModelCall(
        asked="mistral-large-latest",
        answered="mistral-large-latest",
        request_hash="0" * 64,
        usage=Usage(input=250, output=30),
        finish_reason="tool_calls",
        latency_ms=400,
    )
    steps: list[Step] = [
        RunRequested.model_validate(
            envelope()
            | {
                "agent": AgentRef(name="assistant"),
                "model": "mistral-large-latest",
                "prompt": "5 + 10, times 3?",
            }
        ),
        RunClaimed.model_validate(envelope() | {"runner": "bench"}),
        UserRequest.model_validate(envelope() | {"content": "5 + 10, times 3?"}),
    ]
    for index in range(3):
        call_id = f"call{index:05d}"
        requested = RequestedToolCall(call_id=call_id, tool="calculator", arguments='{"x": 5, "y": 10}')
        steps += [
            AgentThought.model_validate(
                envelope() | {"content": "I add.", "tool_calls": (requested,), "model_call": call}
            ),
            ToolCall.model_validate(
                envelope()
                | {
                    "call_id": call_id,
                    "tool": "calculator",
                    "arguments": {"operation": "add", "x": 5, "y": 10},
                    "effect": Effect.PURE,
                    "idempotency_key": f"{run_id}:{call_id}",
                }
            ),
            ToolResult.model_validate(
                envelope()
                | {"call_id": call_id, "tool": "calculator", "status": "ok", "result": "5 + 10 = 15"}
            ),
        ]
    steps += [
        AgentResponse.model_validate(envelope() | {"content": "The result is 45.", "model_call": call}),
        MemorySnapshot.model_validate(envelope() | {"memory": {"messages": [], "notes": {}}}),
        RunFinished.model_validate(envelope() | {"status": RunStatus.COMPLETED}),
    ]
    return steps
