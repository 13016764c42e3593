"""Waiting for the end of a run: the listener that folds a run's steps as they are stored."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from services.gateway.watch import Arrival
from shared.run_state import LogGap, RunState
from shared.steps import RunFinished, Step

log = structlog.get_logger(__name__)


class Outcome:
    """Follows a new run from its first step on; `on_step` hears each step after that."""

    wants_deltas = False

    def __init__(self, first: Step, on_step: Callable[[Step], None] | None = None) -> None:
        self.state = RunState()
        self.state.apply(first)
        self.is_broken = False
        self._ended = asyncio.Event()
        self._on_step = on_step

    @property
    def is_finished(self) -> bool:
        return self.state.finished is not None

    async def wait(self, seconds: float) -> bool:
        """Whether the run finished within that time; returns early when nothing more will come."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return False
        return self.is_finished

    def arrived(self, arrival: Arrival) -> None:
        if self.is_broken:
            return
        try:
            for step in arrival.steps:
                self._take(step)
        except LogGap as error:
            # Only an unreadable message leaves a gap; whoever reads the log next will say so.
            log.error("a run cannot be followed", error=str(error))
            self.is_broken = True
            self._ended.set()

    def delta(self, data: bytes) -> None:
        """Not of interest here."""

    def closed(self) -> None:
        self._ended.set()

    def _take(self, step: Step) -> None:
        if step.seq < self.state.next_seq:
            return
        self.state.apply(step)
        if self._on_step is not None:
            self._on_step(step)
        if isinstance(step, RunFinished):
            self._ended.set()


class Ending:
    """Notices only that a run ends, for those who read its log afterwards."""

    wants_deltas = False

    def __init__(self) -> None:
        self.is_seen = False
        self.is_closed = False
        self._something = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns when the end was seen or nothing more will come, at the latest after that time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._something.wait(), seconds)

    def arrived(self, arrival: Arrival) -> None:
        if any(isinstance(step, RunFinished) for step in arrival.steps):
            self.is_seen = True
            self._something.set()

    def delta(self, data: bytes) -> None:
        """Not of interest here."""

    def closed(self) -> None:
        self.is_closed = True
        self._something.set()
