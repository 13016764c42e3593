"""Takes jobs from the queue and drives their runs, a bounded number at once."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge, Histogram

from services.runner.ending import ending
from services.runner.journal import Fenced, Journal
from services.runner.live import LiveFeed
from services.runner.loop import HandedBack, Means, RunLoop
from shared.bodies import BodyMissing
from shared.dead_letters import DeadLetters
from shared.errors import Conflict, Permanent, StudioError, Unavailable
from shared.puller import Puller
from shared.run_log import LogRead, RunKey, RunLog
from shared.run_state import LogGap
from shared.scrub import Scrubber
from shared.service import Runtime
from shared.steps import Failure, RunStatus, Undecodable, decode_steps

log = structlog.get_logger(__name__)

ACTIVE: Final = Gauge("studio_active_runs", "Runs that this runner is driving.")
RUNS: Final = Counter("studio_runs_total", "Runs that left this runner, by how.", ["outcome"])
RUN_SECONDS: Final = Histogram("studio_run_seconds", "Time from a run's claim to its end here.")
RETRY_DELAY_S: Final = 1.0


@dataclass
class _Active:
    """A run in hand: the delivery that stands for it and its loop once it is claimed."""

    message: Msg
    task: asyncio.Task[None]
    loop: RunLoop | None = None


@dataclass(frozen=True)
class Limits:
    concurrency: int
    max_attempts: int
    ack_wait_s: float
    drain_s: float


class Worker:
    """One runner process. Every run in hand is kept alive by heartbeats until it is acknowledged."""

    def __init__(
        self, runtime: Runtime, puller: Puller, run_log: RunLog, means: Means, limits: Limits
    ) -> None:
        self._client = runtime.client
        self._scrubber: Scrubber = runtime.scrubber
        self._puller = puller
        self._log = run_log
        self._means = means
        self._limits = limits
        self._letters = DeadLetters(runtime.client, "runner")
        self._active: dict[RunKey, _Active] = {}
        self._freed = asyncio.Event()
        self._draining = False
        self.runner = f"{runtime.name}-{run_log.writer}"

    async def take_jobs(self) -> None:
        """Until cancelled: one task for each job, never more than the limit."""
        self._resize()
        while True:
            self._freed.clear()
            free = self._limits.concurrency - len(self._active)
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
            for active in list(self._active.values()):
                try:
                    await active.message.in_progress()
                except (NatsError, OSError) as error:
                    log.info("no heartbeat sent", error=str(error))
                    break

    def nudge(self, key: RunKey) -> None:
        """Someone appended to the log of this run: if it is ours, look at it now."""
        if (loop := self._loop_of(key)) is not None:
            loop.look()

    async def drain(self) -> None:
        """Let every run finish its current step, then hand it back; bounded."""
        self._draining = True
        for active in self._active.values():
            if active.loop is not None:
                active.loop.hand_back()
        tasks = [active.task for active in self._active.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._limits.drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _resize(self) -> None:
        ACTIVE.set(len(self._active))
        self._puller.resize(max(self._limits.concurrency - len(self._active), 0))

    def _accept(self, message: Msg) -> None:
        project, run_id = message.subject.split(".")[-2:]
        key = RunKey(project, run_id)
        if (known := self._active.get(key)) is not None:
            known.message = message  # the broker missed our heartbeats; this delivery replaces the other
            return
        task = asyncio.create_task(self._work(key, message), name=f"run {run_id}")
        self._active[key] = _Active(message, task)

    async def _work(self, key: RunKey, message: Msg) -> None:
        started = asyncio.get_running_loop().time()
        structlog.contextvars.bind_contextvars(run_id=key.run_id)
        outcome = "failed"
        try:
            outcome = await self._outcome(key, message)
        except asyncio.CancelledError:
            outcome = "handed-back"
            await self._settle(key, delay=0.1)
        except Exception:
            # A fault of ours: the run stays in the queue, and the count of its claims bounds the tries.
            log.exception("run broke off")
            await self._settle(key, delay=RETRY_DELAY_S)
        finally:
            self._active.pop(key, None)
            self._freed.set()
            self._resize()
            RUNS.labels(outcome).inc()
            RUN_SECONDS.observe(asyncio.get_running_loop().time() - started)

    async def _outcome(self, key: RunKey, message: Msg) -> str:
        try:
            await self._drive(key, await self._read(key, message))
        except HandedBack:
            await self._settle(key, delay=0.1)
            return "handed-back"
        except (Fenced, Conflict) as error:
            log.info("run left to its other runner", reason=str(error))
            await self._settle(key, delay=self._limits.ack_wait_s)
            return "fenced"
        except Unavailable as error:
            log.warning("run delayed", error=str(error))
            await self._settle(key, delay=RETRY_DELAY_S)
            return "delayed"
        except Permanent as error:
            return await self._end_unrecordable(key, message, error)
        except (Undecodable, LogGap, BodyMissing) as error:
            await self._bury(message, error)
            return "buried"
        await self._settle(key)
        return "finished"

    async def _read(self, key: RunKey, message: Msg) -> LogRead:
        """A first delivery has no log yet, which the first append proves; others are read whole."""
        if message.metadata.num_delivered == 1 and b'"$body"' not in message.data:
            return LogRead(tuple(decode_steps(message.data)), 0)
        return await self._log.read(key, fresh=True)

    async def _drive(self, key: RunKey, read: LogRead) -> None:
        journal = self._journal(key, read)
        if journal.state.finished or journal.state.deleted:
            return
        if self._draining:
            raise HandedBack
        redelivered = journal.state.next_seq > 1
        journal.claim(self.runner)
        if redelivered:
            await journal.commit()  # another runner may still be at it: be sure before anything is paid
        if journal.attempt > self._limits.max_attempts:
            await self._fail(
                journal,
                "too-many-attempts",
                f"The run was claimed {journal.attempt - 1} times and never came to its end.",
            )
            return
        loop = RunLoop(journal, self._means, LiveFeed(self._client, key, self._scrubber))
        self._active[key].loop = loop
        try:
            await loop.drive()
        finally:
            journal.abandon()

    def _journal(self, key: RunKey, read: LogRead) -> Journal:
        return Journal(self._log, key, read, clock=self._means.clock, interrupt=lambda: self._interrupt(key))

    def _interrupt(self, key: RunKey) -> None:
        if (loop := self._loop_of(key)) is not None:
            loop.interrupt()

    def _loop_of(self, key: RunKey) -> RunLoop | None:
        active = self._active.get(key)
        return active.loop if active is not None else None

    async def _end_unrecordable(self, key: RunKey, message: Msg, error: Permanent) -> str:
        """The log refused a step for good (it fits no message): the run ends and says so."""
        try:
            journal = self._journal(key, await self._log.read(key, fresh=True))
            await self._fail(journal, "unrecordable", f"A step could not be recorded: {error}")
        except (StudioError, Undecodable) as failure:
            log.warning("the end of an unrecordable run was refused too", error=str(failure))
            await self._bury(message, error)
            return "buried"
        await self._settle(key)
        return "finished"

    async def _fail(self, journal: Journal, kind: str, why: str) -> None:
        if journal.state.finished is None:
            failure = Failure(type=kind, message=why)
            journal.record(*ending(journal.state, self._means.clock(), RunStatus.FAILED, failure))
        await journal.commit()

    async def _settle(self, key: RunKey, *, delay: float | None = None) -> None:
        """Acknowledge the job, or give it back to be delivered again after the delay."""
        active = self._active.get(key)
        if active is None:
            return
        try:
            if delay is None:
                await active.message.ack()
            else:
                await active.message.nak(delay=delay)
        except (NatsError, OSError) as error:
            log.info("job not settled, the broker will redeliver it", error=str(error))

    async def _bury(self, message: Msg, error: Exception) -> None:
        log.error("job is unusable", error=str(error))
        try:
            await self._letters.add(message, message.data, "unusable", str(error))
            await message.term()
        except (Unavailable, NatsError, OSError) as failure:
            log.warning("dead letter not stored, the job will come again", error=str(failure))
