"""The process's end: hearing of it in time, and leaving the broker.

The server waits for open responses before it ends the application's life cycle, so an event stream that
learned of the end only there would keep the process alive for ever.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, Final

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from shared.service import Runtime

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

DISCONNECT_S: Final = 5.0


@asynccontextmanager
async def connected(broker: NatsBroker, runtime: Runtime) -> AsyncIterator[None]:
    """The broker's life cycle around the block; leaving is bounded, even while the broker is away."""
    await broker.start()
    client = runtime.client
    try:
        yield
    finally:
        runtime.stopping.set()
        try:
            await asyncio.wait_for(broker.stop(), DISCONNECT_S)
        except (NatsError, TimeoutError) as error:
            log.info("the connection is cut, not drained", error=str(error))
            await client.close()


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
