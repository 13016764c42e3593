"""A thread that ends the process when its event loop is silent or its broker connection closed for good.

A frozen loop still holds its messages, and a closed client never comes back: both are only cured by a
new process, which the supervisor or Kubernetes starts.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

SILENCE_S: Final = 10.0
EXIT_CODE: Final = 70


class Watchdog:
    """Watches the running loop. `is_closed` says whether the broker client gave up."""

    def __init__(
        self,
        is_closed: Callable[[], bool],
        *,
        silence_s: float = SILENCE_S,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._is_closed = is_closed
        self._silence_s = silence_s
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._seen = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def silent_for(self) -> float:
        """Seconds since the loop last answered."""
        return time.monotonic() - self._seen

    def _watch(self) -> None:
        interval = self._silence_s / 5
        checked = time.monotonic()
        while not self._stopped.wait(interval):
            pause, checked = time.monotonic() - checked, time.monotonic()
            if pause > 2 * interval:
                self._seen = checked  # the whole process was stopped or starved, not the loop alone
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._answer)
            if self.silent_for() > self._silence_s:
                self._give_up(f"the event loop has been silent for {self.silent_for():.0f} s")
            elif self._is_closed():
                self._give_up("the connection to the broker is closed for good")

    def _answer(self) -> None:
        self._seen = time.monotonic()

    def _give_up(self, why: str) -> None:
        log.critical("watchdog ends the process", why=why)
        self._end(EXIT_CODE)
