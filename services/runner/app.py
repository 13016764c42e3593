"""Wiring only. Run: uvicorn --factory services.runner.app:make_app"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream.asgi import AsgiFastStream
from nats.aio.msg import Msg

from services.runner.catalog import Announcer
from services.runner.loop import Means
from services.runner.mistral import MistralModel
from services.runner.model import Model
from services.runner.settings import Settings
from services.runner.sweep import Sweep
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from services.runner.worker import Limits, Worker
from shared.bus import RUNNER
from shared.puller import Puller
from shared.run_log import RunKey, RunLog
from shared.service import Runtime, make_service
from shared.steps import now


def make_app(model: Model | None = None) -> AsgiFastStream:
    """The runner; `model` replaces the provider (benchmarks and tests)."""
    settings = Settings()
    tool_settings = ToolSettings()
    tools = ToolRegistry.discover(tool_settings)
    provider = MistralModel(settings)
    means = Means(model or provider, tools, now)
    limits = Limits(
        settings.runner_concurrency,
        settings.runner_max_attempts,
        settings.run_ack_wait_s,
        settings.runner_drain_s,
    )

    @asynccontextmanager
    async def parts(runtime: Runtime) -> AsyncIterator[None]:
        run_log = RunLog(runtime.client, runtime.scrubber)
        announcer = Announcer(runtime.client, tools, provider, settings.provider)
        puller = Puller(runtime.client, RUNNER.stream, RUNNER.name, limit=0)
        worker = Worker(runtime, puller, run_log, means, limits)

        async def nudged(message: Msg) -> None:
            project, run_id = message.subject.split(".")[-2:]
            worker.nudge(RunKey(project, run_id))

        await runtime.client.subscribe("run.nudge.>", cb=nudged)
        tasks = [
            runtime.keep(asyncio.create_task(worker.keep_alive(), name="heartbeats")),
            runtime.keep(asyncio.create_task(announcer.run(), name="catalog")),
            runtime.keep(asyncio.create_task(Sweep(runtime.client).run(), name="sweep")),
        ]
        try:
            async with puller:
                jobs = runtime.keep(asyncio.create_task(worker.take_jobs(), name="jobs"))
                tasks.append(jobs)
                try:
                    yield
                finally:
                    jobs.cancel()
            await worker.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return make_service("runner", settings, parts, secrets=tool_settings.secrets())
