"""Work that takes a processor and much memory: little of it at a time, and a short queue for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from services.gateway.problems import unavailable

AT_ONCE: Final = 2
MOST_WAITING: Final = 4
PATIENCE_S: Final = 10.0


class Turns:
    """`what` goes on: for those who are told to come back."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A place while the block runs. Raises Problem (503) when none becomes free soon."""
        await self._acquire()
        try:
            yield
        finally:
            self._places.release()

    async def _acquire(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._places.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _busy(self) -> Exception:
        return unavailable(f"too many {self._what} at the same time; try again")
