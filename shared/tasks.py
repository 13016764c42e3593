"""Ending tasks that run beside: within a bound, also when a cancel is lost on its way."""

import asyncio
from time import monotonic
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

AGAIN_S: Final = 1.0
GIVE_UP_S: Final = 10.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks until they have ended; how they did is for others to tell.

    Once is not enough: nats-py swallows a cancel that comes while it flushes, and asyncio.wait_for one that
    comes together with what it waits for. A loop that meets with this goes on as if nobody had asked.
    """
    deadline, pending = monotonic() + GIVE_UP_S, {task for task in tasks if not task.done()}
    while pending and monotonic() < deadline:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in tasks:
        if task in pending:
            log.error("a task did not end", task=task.get_name(), within_s=GIVE_UP_S)
        elif not task.cancelled():
            task.exception()  # taken notice of, or asyncio complains
