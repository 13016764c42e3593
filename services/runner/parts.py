"""The runner's parts and how they hang together, built once the broker is connected."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from services.runner.catalog import Announcer
from services.runner.children import Children
from services.runner.driver import Driver
from services.runner.handlers import JobHandler
from services.runner.means import Means
from services.runner.mistral import MistralModel
from services.runner.remote.tools import RemoteTools
from services.runner.remote.watch import McpWatch
from services.runner.settings import Settings
from services.runner.sweep import Sweep
from services.runner.worker import Limits, Worker
from shared.bus import RUNNER
from shared.dead_letters import DeadLetters
from shared.puller import Puller
from shared.run_log import RunLog
from shared.service import Runtime
from shared.tasks import end


@asynccontextmanager
async def assembled(
    settings: Settings, means: Means, provider: MistralModel, remote: RemoteTools, runtime: Runtime
) -> AsyncIterator[None]:
    """The parts while they work. At the end no job is taken any more, and the runs in hand are drained."""
    client = runtime.client
    means.tools.connect(runtime)
    puller = Puller(client, RUNNER.stream, RUNNER.name, limit=0)
    run_log = RunLog(client, runtime.scrubber)
    # A writer of its own: what it appends to a run in hand here must be news to that run.
    means = replace(means, remote=remote, family=Children(client, RunLog(client, runtime.scrubber)))
    worker = _worker(settings, means, puller, run_log, runtime)
    announcer = Announcer(client, means.tools, provider, settings.provider, remote.secrets.names)
    await client.subscribe("run.nudge.>", cb=worker.nudged)
    beside = {
        "heartbeats": worker.keep_alive(),
        "catalog": announcer.run(),
        "mcp servers": McpWatch(runtime, remote.servers, remote.local).run(),
        "sweep": Sweep(client, run_log).run(),
    }
    async with _working(runtime, beside):
        async with puller, _working(runtime, {"jobs": worker.take_jobs()}):
            yield
        await worker.drain()
    await remote.close()


def _worker(settings: Settings, means: Means, puller: Puller, run_log: RunLog, runtime: Runtime) -> Worker:
    driver = Driver(runtime, run_log, means, max_attempts=settings.runner_max_attempts)
    letters = DeadLetters(runtime.client, RUNNER.name)
    handler = JobHandler(driver, letters, ack_wait_s=settings.run_ack_wait_s)
    limits = Limits(settings.runner_concurrency, settings.run_ack_wait_s, settings.runner_drain_s)
    return Worker(puller, handler, limits)


@asynccontextmanager
async def _working(runtime: Runtime, work: dict[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """The work goes on while the block runs."""
    tasks = [runtime.keep(asyncio.create_task(each, name=name)) for name, each in work.items()]
    try:
        yield
    finally:
        await end(*tasks)
