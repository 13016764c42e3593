"""Ctrl-C and its relatives while a stack is started, used and stopped."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The first signal raises KeyboardInterrupt. Those that come after `shield` call `hurry` instead:
    whoever cleans up is not interrupted, only asked to be quick."""

    def __init__(self) -> None:
        self.hurry: Callable[[], None] = _nothing_to_hurry
        self._is_shielded = False
        self._before: dict[signal.Signals, object] = {}

    def shield(self) -> None:
        """From now on a clean-up is under way."""
        self._is_shielded = True

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_shielded:
            self.hurry()
            return
        self.shield()
        raise KeyboardInterrupt


def _nothing_to_hurry() -> None:
    """Nothing runs yet."""
