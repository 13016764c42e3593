"""Watching one run: every message of its log, once and in order, to all who listen.

The broker sends each stored message again over core NATS, which may lose some. The position in the log
shows every loss: a message names the one before it, and `check` compares the end of the log with what was
heard; what is missing is read. Not here: which runs are watched and when they are checked (`hub.py`), and
what a listener does with the steps (`outcome.py`, `event_buffer.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from time import monotonic
from typing import Final, Protocol

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.gateway.log_reader import LogReader
from services.gateway.metrics import REPAIRS
from shared.errors import Unavailable
from shared.step_codec import Undecodable, decode_steps, encode_step
from shared.steps import Step
from shared.subjects import RunKey, live_subject, stored_subject

log = structlog.get_logger(__name__)

PENDING_BYTES: Final = 8 * 1024 * 1024


class Arrival:
    """The steps of one message of the log, decoded once for all listeners."""

    def __init__(self, data: bytes) -> None:
        self.steps: list[Step] = decode_steps(data)

    @cached_property
    def texts(self) -> list[bytes]:
        """The JSON text of each step; encoded once, and only if somebody wants it."""
        return [encode_step(step) for step in self.steps]


class Listener(Protocol):
    """Called for what happens; must return at once and never raise."""

    @property
    def wants_deltas(self) -> bool: ...

    def arrived(self, arrival: Arrival) -> None:
        """Steps were stored. They follow on those of the call before."""

    def delta(self, data: bytes) -> None:
        """Something goes on that is not stored: a JSON object."""

    def closed(self) -> None:
        """Nothing more will come: this process stops."""


class Watch:
    """One watched run. `position` is the last stream sequence that its listeners know of."""

    def __init__(self, client: Client, reader: LogReader, run: RunKey) -> None:
        self.run = run
        self.position: int | None = None
        self.listeners: set[Listener] = set()
        self.is_behind = False
        self.checked_at = monotonic()
        self._client = client
        self._reader = reader
        self._subscriptions: list[Subscription] = []
        self._heard = 0
        self._has_deltas = False
        self._is_closed = False
        self._opening: asyncio.Task[None] | None = None
        self._repairing = asyncio.Lock()

    async def open(self, *, is_new: bool) -> int:
        """Listen from now on; returns the position. The log of a new run is known to be empty.

        Raises Unavailable.
        """
        if self.position is None and is_new:
            self.position = 0
            await self._listen()
        elif self.position is None:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="open a watch")
            await asyncio.shield(self._opening)
        return self.position or 0

    async def want_deltas(self) -> None:
        """From now on deltas too. Raises Unavailable."""
        if self._has_deltas:
            return
        self._has_deltas = True
        try:
            await self._subscribe(live_subject(self.run), self._live)
        except Unavailable:
            self._has_deltas = False
            raise

    async def close(self) -> None:
        self._is_closed = True
        for subscription in self._subscriptions:
            try:
                await subscription.unsubscribe()
            except (NatsError, OSError) as error:
                log.debug("not unsubscribed, the connection is gone", error=str(error))
        self._subscriptions.clear()

    async def check(self) -> None:
        """Compare the end of the log with what was heard, and read what is missing. Never raises."""
        self.checked_at = monotonic()
        try:
            last = await self._reader.last(self.run)
            if last is not None and self.position is not None and last.sequence > self.position:
                await self._repair(last.sequence)
            self.is_behind = False
        except Unavailable as error:
            self.is_behind = True
            log.info("a watched run cannot be checked", run_id=self.run.run_id, error=str(error))

    async def _open(self) -> None:
        await self._listen()
        last = await self._reader.last(self.run)
        # What came while this was asked was given to nobody: a listener reads at least up to here.
        self.position = max(self._heard, last.sequence if last else 0)

    async def _listen(self) -> None:
        await self._subscribe(stored_subject(self.run), self._stored)

    async def _subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        try:
            subscription = await self._client.subscribe(
                subject, cb=callback, pending_bytes_limit=PENDING_BYTES
            )
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker took no subscription: {error or type(error).__name__}") from error
        self._subscriptions.append(subscription)
        if self._is_closed:  # the last listener left in the meantime
            await self.close()

    async def _stored(self, message: Msg) -> None:
        headers = message.headers or {}
        sequence = int(headers["Nats-Sequence"])
        if self.position is None:
            self._heard = max(self._heard, sequence)
        elif sequence <= self.position:
            return
        elif int(headers["Nats-Last-Sequence"]) == self.position:
            self._give(sequence, message.data)
        else:
            await self.check()

    async def _live(self, message: Msg) -> None:
        for listener in tuple(self.listeners):
            if listener.wants_deltas:
                listener.delta(message.data)

    async def _repair(self, until: int) -> None:
        """Give what lies between the position and the end of the log."""
        REPAIRS.inc()
        async with self._repairing:
            async for page in self._reader.pages(self.run, after=self.position or 0):
                for sequence, data in page:
                    # Messages that arrive meanwhile move the position too.
                    if sequence > (self.position or 0):
                        self._give(sequence, data)
            if (self.position or 0) < until:
                raise Unavailable("the log was read from a replica that is behind")

    def _give(self, sequence: int, data: bytes) -> None:
        self.position = sequence
        try:
            arrival = Arrival(data)
        except Undecodable as error:
            log.error("a message of the log is not readable", run_id=self.run.run_id, error=str(error))
            return
        for listener in tuple(self.listeners) if arrival.steps else ():
            listener.arrived(arrival)
