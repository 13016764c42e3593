"""Tasks that run beside end when they are told to, however they take it."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from shared import tasks


async def stubborn(swallowed: int) -> None:
    """Goes on after so many cancels."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed -= 1
            if swallowed < 0:
                raise


async def test_a_lost_cancel_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.02)
    running = [asyncio.create_task(stubborn(count)) for count in range(4)]
    await asyncio.sleep(0)
    await tasks.end(*running)
    assert all(task.cancelled() for task in running)


async def test_a_task_that_never_ends_is_left_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.02)
    monkeypatch.setattr(tasks, "GIVE_UP_S", 0.1)
    monkeypatch.setattr(tasks, "log", structlog.get_logger())  # the module's may be bound to another's output
    running = asyncio.create_task(stubborn(10), name="the stubborn one")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await asyncio.wait_for(tasks.end(running), 5)
    is_left = not running.done()
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)
    assert is_left
    assert [(entry["event"], entry["task"]) for entry in logs] == [("a task did not end", "the stubborn one")]


async def test_tasks_that_have_ended_by_themselves_are_no_trouble() -> None:
    async def broken() -> None:
        raise ValueError("no good")

    running = [asyncio.create_task(broken()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(running)
    await tasks.end(*running)
