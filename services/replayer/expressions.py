"""Metrics of people's own: a Python expression over what a run came to, evaluated in a sandbox.

The expression and the texts are untrusted: the texts go in as data, and the sandbox has no files, no network
and little time and memory. Out comes one number or the name of a type, so that nothing large can come out.
"""

import ast
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from pydantic_monty import (
    AsyncMonty,
    CollectString,
    MontyCrashedError,
    MontyRuntimeError,
    MontySyntaxError,
    ResourceLimits,
)

from services.replayer.measures import Scalar

MOST_CODE: Final = 4096
MOST_PRINTED: Final = 4096
MOST_SAID: Final = 300
AT_ONCE: Final = 2
LARGEST: Final = 1e100
"""Squares and sums of such numbers are still finite."""
PATIENCE_S: Final = 10.0
LIMITS: Final = ResourceLimits(
    max_feed_duration_secs=1.0, max_memory=32 * 1024 * 1024, max_recursion_depth=200
)


class Refused(Exception):
    """The expression gives no number; the message says why."""


class Expressions:
    """The sandbox starts with the first expression."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._pool: AsyncMonty | None = None

    async def value(self, expression: str, inputs: Mapping[str, Scalar]) -> float:
        """The number that it gives, 1 and 0 for true and false. Raises Refused."""
        code = _program(expression)
        try:
            pool = await self._started()
            async with pool.checkout(limits=LIMITS, os_policy={"sleep": "zero"}) as session:
                given = await session.feed_run(
                    code, inputs=dict(inputs), print_callback=CollectString(MOST_PRINTED)
                )
        except (MontyRuntimeError, MontySyntaxError) as error:
            raise Refused(error.display("type-msg")[:MOST_SAID]) from error
        except (MontyCrashedError, TimeoutError, MemoryError, ValueError) as error:
            raise Refused(f"it was stopped: {error}"[:MOST_SAID]) from error
        if not isinstance(given, float):
            raise Refused(f"it gives {given}; a number or a truth value is needed")
        if not abs(given) <= LARGEST:
            raise Refused(f"it gives {given}, which is no number to reckon with")
        return given

    async def close(self) -> None:
        await self._stack.aclose()
        self._pool = None

    async def _started(self) -> AsyncMonty:
        if self._pool is None:
            pool = AsyncMonty(
                min_processes=1,
                max_processes=AT_ONCE,
                checkout_timeout=PATIENCE_S,
                max_checkouts_per_worker=1000,
            )
            self._pool = await self._stack.enter_async_context(pool)
        return self._pool


def _program(expression: str) -> str:
    """One expression that cannot break out of its brackets, nor give `float` or `type` another meaning."""
    if len(expression) > MOST_CODE:
        raise Refused(f"it has more than {MOST_CODE} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"it is no expression of Python: {error}"[:MOST_SAID]) from error
    if any(isinstance(node, ast.NamedExpr) for node in ast.walk(tree)):
        raise Refused("it may not give names to values (:=)")
    return (
        f"value = (\n{expression.strip()}\n)\n"
        "float(value) if isinstance(value, (bool, int, float)) else type(value).__name__"
    )
