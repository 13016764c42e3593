"""Waiting for a condition with a bound, instead of sleeping and hoping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T | None]], *, within_s: float = ..., every_s: float = ...
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T | None], *, within_s: float = ..., every_s: float = ...
) -> T: ...


async def eventually(condition: Callable[[], Any], *, within_s: float = 10.0, every_s: float = 0.02) -> Any:
    """The first true value of the condition; fails when there is none within the bound."""
    deadline = monotonic() + within_s
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(every_s)


def run_alone(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on an event loop of its own, for tests that are plain functions."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)
