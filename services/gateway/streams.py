"""How many event streams and WebSockets are open, and the bound on their number."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.metrics import STREAMS
from services.gateway.problems import unavailable


class Streams:
    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def require_room(self) -> None:
        """Raises Problem (503) when as many are open as may be."""
        if self._open >= self._most:
            raise unavailable(f"this gateway has {self._most} streams open, its limit", retry_after_s=10)

    @contextmanager
    def counted(self, kind: str) -> Iterator[None]:
        """Count a stream while the block runs."""
        self._open += 1
        STREAMS.labels(kind).inc()
        try:
            yield
        finally:
            self._open -= 1
            STREAMS.labels(kind).dec()
