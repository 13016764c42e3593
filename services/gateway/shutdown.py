"""The process's end: hearing of it in time.

The server waits for open responses before it ends the application's life cycle, so an event stream that
learned of the end only there would keep the process alive for ever.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_termination(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` in the running loop when a signal ends the process; its handlers still run."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only; whoever runs a server elsewhere ends it otherwise
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        earlier: Any = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, earlier in before.items():
            # None stands for a handler that was not set from Python; it cannot be put back.
            signal.signal(number, earlier if earlier is not None else signal.SIG_DFL)
