"""The jobs of one runner process, on a log in memory: a stop in the middle of a claim."""

import asyncio
from dataclasses import replace

import pytest

from services.runner.means import Means
from shared.run_log import Sealed
from shared.steps import now
from shared.subjects import RunKey
from tests.support.memory_log import MemoryLog
from tests.support.memory_runner import LIMITS, Delivery, Process, make_worker
from tests.support.runs import Bench, bench, kinds
from tests.support.tools import counting_tools
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("every_run_can_be_rehearsed")


class Slow(MemoryLog):
    """Holds every append until it is opened."""

    def __init__(self, run: Bench) -> None:
        super().__init__(run.broker, "b")
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def append(self, run: RunKey, sealed: Sealed, expected: int, **fields: object) -> int:
        self.reached.set()
        await self.open.wait()
        return await super().append(run, sealed, expected)


async def test_a_run_that_is_claimed_during_a_stop_is_handed_back_before_the_model_is_asked() -> None:
    run = bench("Done.")
    await run.request()
    await run.claim("a")
    log = Slow(run)
    means = Means(run.model, counting_tools(run.world), now)
    worker, jobs = make_worker(log, means, limits=replace(LIMITS, drain_s=5.0))
    delivery = Delivery(Process(run.broker), run.key, 2)
    jobs.queue.put_nowait(delivery)
    taking = asyncio.create_task(worker.take_jobs())
    await asyncio.wait_for(log.reached.wait(), 2)
    draining = asyncio.create_task(worker.drain())
    await eventually(lambda: all(job.leaving for job in worker._jobs.values()))
    log.open.set()
    await asyncio.wait_for(draining, 2)
    assert await delivery.settled == "nak"
    assert run.model.requests == []
    assert kinds(run.steps) == ["run-requested", "run-claimed", "run-claimed", "user-request"]
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
