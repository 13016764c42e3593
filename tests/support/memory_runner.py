"""A runner process in memory that can die at any of its awaits on the outside world.

The worker, its loop and its journal are the real ones; the broker, the model's server and the network in
between are simulated. Every await on them passes a numbered point; a process dies at one of them, and from
then on nothing of it has an effect, apart from what was on the network already.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn, cast

from nats.aio.client import Client

from services.runner.driver import Driver
from services.runner.handlers import JobHandler
from services.runner.means import Means
from services.runner.model import Live, Model, ModelReply
from services.runner.tools.registry import ToolRegistry
from services.runner.worker import Limits, Worker
from shared.dead_letters import DeadLetters
from shared.model_request import ModelRequest
from shared.puller import Puller
from shared.run_log import LogRead, RunLog, Sealed
from shared.service import Runtime
from shared.steps import now
from shared.subjects import RunKey, job_subject
from tests.support.memory_log import Broker, MemoryLog

LIMITS = Limits(concurrency=8, ack_wait_s=2.0, drain_s=2.0)
Hook = Callable[[], Coroutine[Any, Any, None]]
Settled = str  # "ack", "nak", "term" or "died"


class InFlight(Enum):
    """What becomes of an append that was on the network when its process died."""

    LANDS = "lands"
    LOST = "lost"
    LATE = "late"  # the broker stores it only after the next process has read the log


@dataclass
class Process:
    """The life of one process: it dies at the point `dies_at`, counted from 0."""

    broker: Broker
    dies_at: int | None = None
    points: list[str] = field(default_factory=list)
    network: list[Callable[[], None]] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def point(self, name: str) -> None:
        if self.dead.is_set():
            await _never()
        self.points.append(name)
        if len(self.points) - 1 == self.dies_at:
            self.dead.set()
            await _never()
        await asyncio.sleep(0)


async def _never() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("unreachable: nobody sets this event")


class MortalLog(MemoryLog):
    """The log of a process that may die before it sends, before the broker stores, or before the answer."""

    def __init__(self, broker: Broker, writer: str, process: Process, late: list[Callable[[], None]]) -> None:
        super().__init__(broker, writer)
        self._process = process
        self._late = late

    async def append(self, run: RunKey, sealed: Sealed, expected: int, **_: Any) -> int:
        await self._process.point("append: send")
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            try:
                outcome.set_result(self.broker.store(run, self.writer, self._payload(sealed), expected))
            except Exception as error:  # noqa: BLE001 - the sender gets whatever the broker answers
                outcome.set_exception(error)
                outcome.exception()  # nobody may be left to hear of it

        self._process.network.append(arrive)
        await self._process.point("append: store")
        self._process.network.remove(arrive)
        arrive()
        await self._process.point("append: answer")
        return await outcome

    async def read(
        self, run: RunKey, *, after: int = 0, fresh: bool = False, inflate: bool = True
    ) -> LogRead:
        await self._process.point("read: send")
        read = await super().read(run, after=after, fresh=fresh)
        while self._late:
            self._late.pop(0)()
        await self._process.point("read: answer")
        return read


@dataclass
class MortalModel:
    process: Process
    model: Model

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        await self.process.point("model: ask")
        reply = await self.model.complete(request, live)
        await self.process.point("model: answer")
        return reply


@dataclass
class _Sequence:
    stream: int = 1


@dataclass
class _Metadata:
    num_delivered: int
    sequence: _Sequence = field(default_factory=_Sequence)


class Delivery:
    """A job as the broker delivers it; `settled` is what the process did with it."""

    def __init__(self, process: Process, key: RunKey, number: int) -> None:
        self.subject = job_subject(key)
        self.data = process.broker.jobs[key]
        self.metadata = _Metadata(number)
        self.headers: dict[str, str] = {}
        self.settled: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._process = process

    async def ack(self) -> None:
        self._settle("ack")

    async def nak(self, delay: float | None = None) -> None:
        self._settle("nak")

    async def term(self) -> None:
        self._settle("term")

    async def in_progress(self) -> None:
        """The broker needs no heartbeats here."""

    def _settle(self, how: Settled) -> None:
        if not self._process.dead.is_set() and not self.settled.done():
            self.settled.set_result(how)


class _Jobs:
    """Stands where the puller is."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self.limit = 0

    async def take(self, most: int) -> list[Delivery]:
        return [await self.queue.get()]

    def resize(self, limit: int) -> None:
        self.limit = limit


class _Connection:
    """Stands where the broker's client is; live events and dead letters go nowhere."""

    def jetstream(self, **_: Any) -> "_Connection":
        return self

    async def publish(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)


@dataclass
class _Service:
    name: str
    client: Client
    scrubber: None = None


def make_worker(log: MemoryLog, means: Means, *, limits: Limits = LIMITS) -> tuple[Worker, _Jobs]:
    jobs = _Jobs()
    client = cast("Client", _Connection())
    service = cast("Runtime", _Service("runner", client))
    driver = Driver(service, cast("RunLog", log), means, max_attempts=10)
    handler = JobHandler(driver, DeadLetters(client, "runner"), ack_wait_s=limits.ack_wait_s)
    return Worker(cast("Puller", jobs), handler, limits), jobs


class Cluster:
    """Processes that take over from one another until the run's job is acknowledged."""

    def __init__(self, model: Model, tools: Callable[[Callable[[str], Hook]], ToolRegistry]) -> None:
        self.broker = Broker()
        self.processes: list[Process] = []
        self._model = model
        self._tools = tools
        self._late: list[Callable[[], None]] = []

    async def drive(self, key: RunKey, crashes: list[tuple[int, InFlight]], *, most: int = 14) -> Settled:
        """Deliver the job until it is settled for good; process number i dies as `crashes[i]` says."""
        for number in range(most):
            dies_at, in_flight = crashes[number] if number < len(crashes) else (None, InFlight.LANDS)
            process = Process(self.broker, dies_at)
            self.processes.append(process)
            settled = await self._one_process(process, key, len(self.processes) - 1)
            if settled in {"ack", "term"}:
                return settled
            self._deliver_the_rest(process, in_flight)
        raise AssertionError(f"the job was never acknowledged: {self.processes[-1].points}")

    async def _one_process(self, process: Process, key: RunKey, number: int) -> Settled:
        log = MortalLog(self.broker, f"writer-{number}", process, self._late)

        def hook(name: str) -> Hook:
            return lambda: process.point(name)

        means = Means(MortalModel(process, self._model), self._tools(hook), now)
        worker, jobs = make_worker(log, means)
        delivery = Delivery(process, key, number + 1)
        jobs.queue.put_nowait(delivery)
        before = asyncio.all_tasks()
        taking = asyncio.create_task(worker.take_jobs())
        death = asyncio.create_task(process.dead.wait())
        try:
            async with asyncio.timeout(10):
                ends: set[asyncio.Future[Any]] = {delivery.settled, death}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            process.dead.set()
            taking.cancel()
            mine = [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)
        return delivery.settled.result() if delivery.settled.done() else "died"

    def _deliver_the_rest(self, process: Process, in_flight: InFlight) -> None:
        if in_flight is InFlight.LANDS:
            for arrive in process.network:
                arrive()
        elif in_flight is InFlight.LATE:
            self._late += process.network
