"""What an event stream sends: every step of a run once and in order, deltas between them, then the end.

First what the log has, then what arrives; the sequence numbers join the two, and where one is missing
the log is read again. Not here: the bound on what waits to be sent (`event_buffer.py`), the connection
(`event_response.py`).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Final

import structlog
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from services.gateway.event_buffer import Event, EventBuffer
from services.gateway.hub import Hub
from services.gateway.metrics import OVERFLOWS
from services.gateway.problems import NOT_FOUND, Problem
from services.gateway.reads import StepText
from services.gateway.runs import Found, Runs
from services.gateway.views import RunView
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

RETRY: Final = b"retry: 1000\n\n"
HEARTBEAT: Final = b": heartbeat\n\n"
STOPPING: Final = b": this server is stopping; reconnect with Last-Event-ID\n\n"
TOO_SLOW: Final = b": you read too slowly; reconnect with Last-Event-ID\n\n"
AWAY: Final = b": the log cannot be read; reconnect with Last-Event-ID\n\n"
GONE: Final = b": the run was deleted\n\n"
PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.2
FRAMES_BYTES: Final = 256 * 1024


class EventFeed:
    """The frames for one client, from the step behind `after` on."""

    def __init__(
        self, hub: Hub, runs: Runs, found: Found, after: int, admit: Callable[[], Awaitable[object]]
    ) -> None:
        """`admit` raises Problem when the client may follow no longer; asked at every heartbeat."""
        self.buffer = EventBuffer()
        self._hub = hub
        self._runs = runs
        self._found = found
        self._next = after + 1
        self._has_ended = False
        self._admit = admit
        self._admitted_at = monotonic()

    async def frames(self) -> AsyncGenerator[bytes]:
        """Ends with the run, or early, and then says why: the process stops, the client is too slow or its
        key works no more."""
        yield RETRY
        is_final = self._found.view.status.is_final
        try:
            async with aclosing(self._stored() if is_final else self._followed()) as frames:
                async for frame in frames:
                    yield frame
            if self._has_ended:
                yield await self._end()
        except Unavailable as error:
            log.info("an event stream ends early", run_id=self._found.run.run_id, error=str(error))
            yield AWAY
        except Problem as problem:
            yield GONE if problem.kind is NOT_FOUND else b": %s\n\n" % problem.detail.encode()

    async def _stored(self) -> AsyncGenerator[bytes]:
        """A finished run."""
        async for page in self._runs.step_pages(self._found, self._next - 1):
            for frames in _joined([Event(step.text, step.seq) for step in page]):
                yield frames
        self._has_ended = True

    async def _followed(self) -> AsyncGenerator[bytes]:
        async with self._hub.watching(self._found.run, self.buffer) as position:
            async for frame in self._earlier(position):
                yield frame
            while not self._has_ended:
                await self._require_admitted()
                if not await self.buffer.wait(self._hub.heartbeat_s):
                    yield HEARTBEAT
                    continue
                events = self.buffer.take()
                if self.buffer.is_too_slow:
                    OVERFLOWS.inc()
                    yield TOO_SLOW
                    return
                heard = self.buffer.heard
                for frames in _joined(self._due(events)):
                    yield frames
                if self._next <= heard:
                    async for frame in self._logged(until=heard):
                        yield frame
                if self.buffer.is_closed and not self._has_ended:
                    yield STOPPING
                    return

    async def _require_admitted(self) -> None:
        """A busy stream has no heartbeats, so the clock decides."""
        if monotonic() - self._admitted_at >= self._hub.heartbeat_s:
            await self._admit()
            self._admitted_at = monotonic()

    async def _earlier(self, position: int) -> AsyncIterator[bytes]:
        """What was there before the listening began, at `position`."""
        if self._next > self._found.view.step_count:  # the client has more than was found: look again
            view = (await self._runs.find(self._found.run)).view
            self._has_ended = view.status.is_final and self._next >= view.step_count
        if self._found.in_database:  # the broker may have it no more
            async for page in self._runs.step_pages(self._found, self._next - 1):
                for frames in _joined(self._due(_events(page))):
                    yield frames
        async for frame in self._logged(position):
            yield frame

    async def _logged(self, position: int = 0, *, until: int = -1) -> AsyncIterator[bytes]:
        """What the log has from the next step on, at least to stream sequence `position` and step `until`."""
        deadline = monotonic() + PATIENCE_S
        while monotonic() < deadline:
            try:
                async for page in self._runs.log_steps(self._found.run, self._next - 1, at_least=position):
                    for frames in _joined(self._due(_events(page))):
                        yield frames
                if self._next > until:
                    return
            except Unavailable as error:
                log.info("the log is read again", run_id=self._found.run.run_id, error=str(error))
            await asyncio.sleep(PAUSE_S)
        raise Unavailable("the log does not have what was heard of it")

    def _due(self, events: list[Event]) -> list[Event]:
        """The deltas, and the steps that are next; the others were sent before, or are to be read first."""
        due = []
        for event in events:
            if event.seq is None:
                due.append(event)
                continue
            if event.seq == self._next:
                self._next += 1
                due.append(event)
            if event.seq == self._next - 1:  # a run that was retried goes on behind an end
                self._has_ended = event.is_end
        return due

    async def _end(self) -> bytes:
        view = self._found.view if self._found.view.status.is_final else await self._ended()
        return b"event: end\ndata: %s\n\n" % view.model_dump_json().encode()

    @retry(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_fixed(PAUSE_S),
        stop=stop_after_delay(PATIENCE_S),
        reraise=True,
    )
    async def _ended(self) -> RunView:
        return await self._runs.ended(self._found.run)


def _events(steps: Sequence[StepText]) -> list[Event]:
    return [Event(step.text, step.seq, step.kind == "run-finished") for step in steps]


def _joined(events: list[Event]) -> list[bytes]:
    """The frames in pieces of a size that suits one write."""
    pieces: list[bytes] = []
    frames: list[bytes] = []
    size = 0
    for event in events:
        frames.append(event.frame)
        size += len(event.data)
        if size >= FRAMES_BYTES:
            pieces.append(b"".join(frames))
            frames, size = [], 0
    return [*pieces, b"".join(frames)] if frames else pieces
