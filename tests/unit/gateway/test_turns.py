"""Few at a time, a short queue, and words for all others."""

import asyncio

import pytest

from services.gateway import turns
from services.gateway.problems import Problem
from services.gateway.turns import AT_ONCE, MOST_WAITING, Turns
from tests.support.waiting import eventually


async def test_more_than_work_and_wait_are_told_to_come_back() -> None:
    places, over, at_work, most = Turns("runs are being read"), asyncio.Event(), 0, 0

    async def work() -> None:
        nonlocal at_work, most
        async with places.one():
            at_work += 1
            most = max(most, at_work)
            await over.wait()
            at_work -= 1

    tasks = [asyncio.create_task(work()) for _ in range(AT_ONCE + MOST_WAITING)]
    await eventually(lambda: at_work == AT_ONCE)
    with pytest.raises(Problem, match="too many runs are being read at the same time; try again") as refused:
        await work()
    assert (refused.value.kind.status, refused.value.headers["Retry-After"]) == (503, "1")
    over.set()
    await asyncio.gather(*tasks)
    assert most == AT_ONCE
    await work()


async def test_nobody_waits_longer_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.05)
    places = Turns("runs are being read")
    async with places.one(), places.one():
        with pytest.raises(Problem, match="at the same time"):
            async with places.one():
                pytest.fail("there was no place")
    async with places.one():
        pass
