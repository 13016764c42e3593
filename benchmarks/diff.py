"""Comparing two runs of 2,000 steps: in the process, and over HTTP with reading them from Postgres."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from uuid_utils import uuid7

from benchmarks.figures import Figure, below, percentile
from benchmarks.http_load import LoadClient
from benchmarks.stack import connect, stack
from shared.diff import diff_runs
from shared.step_codec import decode_steps, encode_step
from shared.steps import Step
from studio.stack.supervisor import Stack

STEPS: Final = 2_000
REPEATS: Final = 9
WORDS: Final = [f"word{n}" for n in range(500)]
TARGET_S: Final = 1.0

ADD_STEP: Final = """
INSERT INTO steps (run_id, seq, project, kind, at, payload) VALUES ($1, $2, 'default', $3, now(), $4)
"""
ADD_RUN: Final = """
INSERT INTO runs (run_id, project, status, status_seq, agent, agent_version, model, prompt,
                  response_seq, user_id, created_at, started_at, finished_at, last_seq, steps)
VALUES ($1, 'default', 'completed', $2 - 1, 'assistant', 1, 'mistral-large-latest', 'Sum it up.',
        0, 'default', now(), now(), now(), $2 - 1, $2)
"""


async def measure() -> list[Figure]:
    run, other, edited = _run(1), _run(2), _edited(_run(1))
    figures = [
        _in_process("two related runs of 2,000 steps", run, edited),
        _in_process("two unrelated runs of 2,000 steps", run, other),
    ]
    with stack() as running:
        database = await connect(running)
        ids = [await _record(database, steps) for steps in (run, edited, other)]
        await database.close()
        figures.append(await _over_http(running, f"/api/diff?left={ids[0]}&right={ids[2]}"))
        figures.append(await _meanwhile(running, f"/api/diff?left={ids[0]}&right={ids[2]}"))
    return figures


def _in_process(name: str, left: Sequence[Step], right: Sequence[Step]) -> Figure:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        diff = diff_runs(left, right)
        times.append(time.perf_counter() - started)
    return below(f"compare {name}", times, "s", TARGET_S, f"{REPEATS} times; {diff.counts}")


async def _over_http(running: Stack, path: str) -> Figure:
    times, size = [], 0
    async with LoadClient(running.gateway_url, running.api_key) as client:
        for _ in range(REPEATS):
            started = time.perf_counter()
            answer = await _get(client, path)
            times.append(time.perf_counter() - started)
            size = len(json.dumps(answer))
    return below("the same over HTTP, from Postgres", times, "s", TARGET_S, f"{size / 2**20:.1f} MiB of JSON")


async def _meanwhile(running: Stack, path: str) -> Figure:
    """How long other requests wait while runs are compared all the time."""
    times: list[float] = []
    async with (
        LoadClient(running.gateway_url, running.api_key) as client,
        LoadClient(running.gateway_url, running.api_key) as bystander,
    ):
        comparing = asyncio.create_task(_get(client, path))
        while not comparing.done():
            started = time.perf_counter()
            await _get(bystander, "/api/models")
            times.append((time.perf_counter() - started) * 1000)
        await comparing
    note = f"{len(times)} reads of the models"
    return Figure("another request meanwhile, p95", percentile(times, 0.95), "ms", note=note)


async def _get(client: LoadClient, path: str) -> Any:
    status, answer = await client.get(path)
    if status != 200:
        raise RuntimeError(f"{path} answered {status}: {answer}")
    return answer


async def _record(database: asyncpg.Connection, steps: Sequence[Step]) -> str:
    run_id = steps[0].run_id
    await database.executemany(
        ADD_STEP, [(run_id, step.seq, step.kind, encode_step(step).decode()) for step in steps]
    )
    await database.execute(ADD_RUN, run_id, len(steps))
    return run_id


def _run(seed: int) -> list[Step]:
    """Rounds of a thought of 60 words, a call and a result of 40 words and 20 numbers."""
    chosen = random.Random(seed)
    fields: list[dict[str, Any]] = [
        {"kind": "run-requested", "agent": {"name": "assistant"}, "model": "m", "prompt": "Sum it up."},
        {"kind": "run-claimed", "runner": "runner-1"},
        {"kind": "user-request", "content": "Sum it up."},
    ]
    while len(fields) < STEPS - 2:
        fields += _round(chosen, f"call{len(fields):05}")
    answer = {"content": _words(chosen, 200), "model_call": _model_call()}
    fields += [{"kind": "agent-response", **answer}, {"kind": "run-finished", "status": "completed"}]
    return _as_steps(fields)


def _round(chosen: random.Random, call_id: str) -> list[dict[str, Any]]:
    tool = chosen.choice(["search", "fetch", "calculator"])
    arguments = {"query": _words(chosen, 6), "limit": chosen.randrange(1000)}
    asked = {"call_id": call_id, "tool": tool, "arguments": json.dumps(arguments)}
    made = {"call_id": call_id, "tool": tool}
    found = {"text": _words(chosen, 40), "rows": [chosen.randrange(1000) for _ in range(20)]}
    thought = {"content": _words(chosen, 60), "tool_calls": [asked], "model_call": _model_call()}
    return [
        {"kind": "agent-thought", **thought},
        {"kind": "tool-call", **made, "arguments": arguments, "effect": "pure", "idempotency_key": call_id},
        {"kind": "tool-result", **made, "status": "ok", "result": found},
    ]


def _edited(steps: Sequence[Step]) -> list[Step]:
    """One thought in ten with another word, one call in ten with another argument, one round in ten new."""
    chosen = random.Random(3)
    fields: list[dict[str, Any]] = []
    for step in steps:
        known = step.model_dump(mode="json")
        if step.kind == "agent-thought" and chosen.random() < 0.1:
            fields += _round(chosen, f"new{len(fields):05}")
        if step.kind == "agent-thought" and chosen.random() < 0.1:
            known["content"] = f"changed {known['content']}"
        if step.kind == "tool-call" and chosen.random() < 0.1:
            known["arguments"]["limit"] += 1
        fields.append(known)
    return _as_steps(fields[: STEPS - 2] + fields[-2:])


def _as_steps(fields: Sequence[dict[str, Any]]) -> list[Step]:
    envelope = {
        "run_id": str(uuid7()),
        "at": datetime.now(UTC).isoformat(),
        "project": "default",
        "writer": "bench",
    }
    steps = [{**each, **envelope, "seq": seq} for seq, each in enumerate(fields)]
    return decode_steps(json.dumps(steps).encode())


def _model_call() -> dict[str, Any]:
    return {"asked": "m", "answered": "m", "request_hash": "0" * 64, "usage": {"input": 900, "output": 90}}


def _words(chosen: random.Random, number: int) -> str:
    return " ".join(chosen.choices(WORDS, k=number))
