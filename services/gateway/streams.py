"""How many event streams and WebSockets are open, and the bound on their number."""

from types import TracebackType
from typing import Self

from services.gateway.metrics import STREAMS
from services.gateway.problems import unavailable


class Streams:
    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def reserve(self, kind: str) -> "Place":
        """A place for one stream, taken at once. Raises Problem (503) when there is none."""
        if self._open >= self._most:
            raise unavailable(f"this gateway has {self._most} streams open, its limit", retry_after_s=10)
        self._change(kind, 1)
        return Place(self, kind)

    def _change(self, kind: str, by: int) -> None:
        self._open += by
        STREAMS.labels(kind).inc(by)


class Place:
    """Given back when the block ends; to give it back twice changes nothing."""

    def __init__(self, streams: Streams, kind: str) -> None:
        self._streams: Streams | None = streams
        self._kind = kind

    def release(self) -> None:
        if self._streams is not None:
            self._streams._change(self._kind, -1)
            self._streams = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
