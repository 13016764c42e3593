"""First token: what the platform adds between the provider's token and the client's event stream."""

import asyncio
import json
import time

from benchmarks.figures import Figure, below, percentile
from benchmarks.http_load import LoadClient
from benchmarks.stack import STREAMING, stack
from studio.stack.supervisor import Stack

STREAMS = 50
REPEATS = 3


async def measure() -> list[Figure]:
    with stack(STREAMING) as running:
        await _watch_one(running)
        first, every = [], []
        for _ in range(REPEATS):
            async with asyncio.timeout(60):
                delays = await asyncio.gather(*(_watch_one(running) for _ in range(STREAMS)))
            first.append(percentile([tokens[0] for tokens in delays], 0.95))
            every.append(percentile([delay for tokens in delays for delay in tokens], 0.95))
    return [
        below("first token, added, p95", first, "ms", 30, f"{STREAMS} streams, {REPEATS} repeats"),
        Figure("every token, added, p95", sorted(every)[1], "ms", note="deltas put together for 40 ms"),
    ]


async def _watch_one(running: Stack) -> list[float]:
    """Milliseconds from each delta's (oldest) token until it was read here."""
    async with (
        LoadClient(running.gateway_url, running.api_key) as client,
        LoadClient(running.gateway_url, running.api_key) as stream,
    ):
        _, run = await client.post("/api/runs", {"prompt": "count"})
        reader = await stream.events(f"/api/runs/{run['run_id']}/events")
        delays: list[float] = []
        event = ""
        while event != "end":
            line = (await reader.readline()).decode()
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event == "delta":
                text = json.loads(line.removeprefix("data:"))["text"]
                delays.append((time.time() - float(text.split()[0])) * 1000)
        return delays
