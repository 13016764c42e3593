"""A run's events over as many connections as it takes: each step once and in order, whatever breaks.

Pure but for the clock: `sync.py` and `asynchronous.py` make the connections and give their bytes to a feed.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from shared.steps import RunDeleted
from studio.client.errors import StillRunning, StudioError, Unreachable
from studio.client.events import Event, LiveEvent, read_event
from studio.client.retries import USUAL, RetryPolicy, Tries
from studio.client.sse import EventParser, ServerEvent

# The server sends a heartbeat more often than this; a longer silence means that nobody is there.
SILENCE_S: Final = 45.0


class Feed:
    """`after` is the last step that is already known, -1 for none. At most `wait_s` seconds, None: no bound.

    Without a bound it lasts as long as the server keeps the run going, which every run bounds by its timeout.
    """

    def __init__(
        self,
        run_id: str,
        *,
        after: int = -1,
        wait_s: float | None = None,
        policy: RetryPolicy = USUAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.run_id = run_id
        self.ended = False
        self._last = after
        self._tries = Tries(policy)
        self._clock = clock
        self._deadline = clock() + wait_s if wait_s is not None else None
        self._parser = EventParser()

    @property
    def silence_s(self) -> float:
        """How long the next connection may be silent."""
        left = self._deadline - self._clock() if self._deadline is not None else SILENCE_S
        return max(0.05, min(SILENCE_S, left))

    def headers(self) -> dict[str, str]:
        """For the next connection, which begins where the last one broke off."""
        self._parser = EventParser()
        resume = {"Last-Event-ID": str(self._last)} if self._last >= 0 else {}
        return {"Accept": "text/event-stream", **resume}

    def take(self, chunk: bytes) -> Iterator[Event]:
        """The events that are now complete. Raises BadAnswer, StillRunning, and Unreachable after a gap."""
        for server_event in self._parser.take(chunk):
            if server_event.name == "end":
                self.ended = True
                return
            event = self._checked(server_event)
            if event is not None:
                yield event
        self._check_time()

    def finish(self) -> None:
        """The connection was closed. Raises Unreachable when that was not the end."""
        if not self.ended:
            raise Unreachable(f"the stream of run {self.run_id} broke off after step {self._last}")

    def wait_after(self, error: StudioError) -> float:
        """Seconds until the next connection; raises the error, or StillRunning, when there is none."""
        self._check_time()
        return self._tries.wait_after(error)

    def _checked(self, server_event: ServerEvent) -> Event | None:
        event = read_event(server_event)
        if event is None or isinstance(event, LiveEvent):
            return event
        if event.seq <= self._last:
            return None
        # The end of a run's record may leave out steps that were erased before it.
        if event.seq > self._last + 1 and not isinstance(event, RunDeleted):
            raise Unreachable(f"the stream of run {self.run_id} left out step {self._last + 1}")
        self._last = event.seq
        self._tries.reset()
        return event

    def _check_time(self) -> None:
        if self._deadline is not None and self._clock() >= self._deadline:
            raise StillRunning(
                f"run {self.run_id} has not finished in the time given; it goes on", self.run_id
            )
