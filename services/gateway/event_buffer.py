"""What one event stream still has to send: bounded, deltas given up first.

The listener side of a stream. What a stream sends and when is in `event_feed.py`.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from services.gateway.metrics import DROPPED_DELTAS
from services.gateway.watch import Arrival
from shared.steps import RunFinished

MOST_EVENTS: Final = 256
MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Event:
    """One event. `data` is shared by all streams of a run; `seq` is None for a delta."""

    data: bytes
    seq: int | None = None
    is_end: bool = False  # the run's last step

    @property
    def frame(self) -> bytes:
        """Its text on the wire."""
        if self.seq is None:
            return b"event: delta\ndata: %s\n\n" % self.data
        return b"id: %d\nevent: step\ndata: %s\n\n" % (self.seq, self.data)


class EventBuffer:
    """`heard` is the last step that arrived here, kept or not; what is missing stands in the log.

    `is_sending` is set by the sender while it waits for its client to take something.
    """

    wants_deltas = True

    def __init__(self) -> None:
        self.is_closed = False
        self.is_sending = False
        self.is_too_slow = False
        self.heard = -1
        self._events: deque[Event] = deque()
        self._size = 0
        self._something = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether something is there within that time."""
        if not self._something.is_set():
            try:
                await asyncio.wait_for(self._something.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def take(self) -> list[Event]:
        """All that is there."""
        events = list(self._events)
        self._empty()
        self._something.clear()
        return events

    def arrived(self, arrival: Arrival) -> None:
        for step, text in zip(arrival.steps, arrival.texts, strict=True):
            self._put(Event(text, step.seq, isinstance(step, RunFinished)))
        self.heard = max(self.heard, arrival.steps[-1].seq)
        if self._is_over():
            self._drop_deltas()
        if self._is_over():
            # The client that does not read is too slow. Else it is a burst, and the log has it all.
            self._empty()
            self.is_too_slow = self.is_too_slow or self.is_sending
        self._something.set()

    def delta(self, data: bytes) -> None:
        if len(self._events) >= MOST_EVENTS // 2 or self._size + len(data) > MOST_BYTES // 2:
            DROPPED_DELTAS.inc()
        elif b"\n" not in data and b"\r" not in data:
            self._put(Event(data))
            self._something.set()

    def closed(self) -> None:
        self.is_closed = True
        self._something.set()

    def _put(self, event: Event) -> None:
        self._events.append(event)
        self._size += len(event.data)

    def _is_over(self) -> bool:
        return len(self._events) > MOST_EVENTS or self._size > MOST_BYTES

    def _drop_deltas(self) -> None:
        kept = [event for event in self._events if event.seq is not None]
        DROPPED_DELTAS.inc(len(self._events) - len(kept))
        self._empty()
        for event in kept:
            self._put(event)

    def _empty(self) -> None:
        self._events.clear()
        self._size = 0
