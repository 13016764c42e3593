"""Takes jobs from the queue, a bounded number at once, and tells the broker that they are worked on."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge, Histogram

from services.runner.handlers import RETRY_DELAY_S, JobHandler
from services.runner.job import GIVE_BACK_S, Job
from shared.puller import Puller
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

ACTIVE: Final = Gauge("studio_active_runs", "Runs that this runner is driving.")
RUNS: Final = Counter("studio_runs_total", "Runs that left this runner, by how.", ["outcome"])
RUN_SECONDS: Final = Histogram("studio_run_seconds", "Time from a run's claim to its end here.")
CANCEL_S: Final = 5.0


@dataclass(frozen=True)
class Limits:
    concurrency: int
    ack_wait_s: float
    drain_s: float


class Worker:
    """One runner process. Every run in hand is kept alive by heartbeats until it is acknowledged."""

    def __init__(self, puller: Puller, handler: JobHandler, limits: Limits) -> None:
        self._puller = puller
        self._handler = handler
        self._limits = limits
        self._jobs: dict[RunKey, Job] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._freed = asyncio.Event()

    async def take_jobs(self) -> None:
        """Until cancelled: one task for each job, never more than the limit."""
        self._resize()
        while True:
            self._freed.clear()
            free = self._limits.concurrency - len(self._jobs)
            if free <= 0:
                await self._freed.wait()
                continue
            for message in await self._puller.take(free):
                self._accept(message)
            self._resize()

    async def keep_alive(self) -> None:
        """Until cancelled: tell the broker that the runs in hand are being worked on."""
        while True:
            await asyncio.sleep(self._limits.ack_wait_s / 4)
            for job in list(self._jobs.values()):
                try:
                    await job.keep_alive()
                except (NatsError, OSError) as error:
                    log.info("no heartbeat sent", error=str(error))
                    break

    async def nudged(self, message: Msg) -> None:
        """Someone appended to the log of this run: if it is ours, look at it now."""
        if (job := self._jobs.get(RunKey.of_subject(message.subject))) is not None:
            job.look()

    async def drain(self) -> None:
        """Let every run finish its current step, then hand it back; bounded."""
        for job in self._jobs.values():
            job.hand_back()
        if not (tasks := list(self._tasks.values())):
            return
        _, late = await asyncio.wait(tasks, timeout=self._limits.drain_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_S)

    def _resize(self) -> None:
        ACTIVE.set(len(self._jobs))
        self._puller.resize(max(self._limits.concurrency - len(self._jobs), 0))

    def _accept(self, message: Msg) -> None:
        job = Job(message)
        if (known := self._jobs.get(job.key)) is not None:
            known.take(message)
            return
        self._jobs[job.key] = job
        self._tasks[job.key] = asyncio.create_task(self._work(job), name=f"run {job.key.run_id}")

    async def _work(self, job: Job) -> None:
        started = asyncio.get_running_loop().time()
        structlog.contextvars.bind_contextvars(run_id=job.key.run_id)
        outcome = "failed"
        try:
            outcome = await self._handler.handle(job)
        except asyncio.CancelledError:
            outcome = "handed-back"
            await job.settle(delay=GIVE_BACK_S)
        except Exception:
            # A fault of ours: the run stays in the queue, and the count of its claims bounds the tries.
            log.exception("run broke off")
            await job.settle(delay=RETRY_DELAY_S)
        finally:
            del self._jobs[job.key], self._tasks[job.key]
            if job.successor is not None:
                self._accept(job.successor)
            self._freed.set()
            self._resize()
            RUNS.labels(outcome).inc()
            RUN_SECONDS.observe(asyncio.get_running_loop().time() - started)
