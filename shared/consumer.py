"""Consuming from the bus: the one way in which every service takes messages from a durable consumer.

A `Consumer` makes batches for a handler of what a `Puller` brings, with the acknowledgement after the
handler's commit, endless patience for what will pass, and the dead letters for what never will. What the
messages hold, its `Form` says: steps (`STEPS_OF_RUNS`), or orders (`shared.messages`).
"""

import asyncio
import json
from collections import Counter as Counted
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MsgAlreadyAckdError
from prometheus_client import Counter, Gauge, Histogram

from shared.bus import KINDS_HEADER
from shared.dead_letters import DeadLetters
from shared.errors import Permanent, Unavailable
from shared.puller import Puller
from shared.step_codec import Undecodable, decode_each, encode_steps
from shared.steps import Step, now
from shared.tasks import end

log = structlog.get_logger(__name__)

IN_PROGRESS_S: Final = 8.0
FIRST_RETRY_DELAY_S: Final = 0.05
MAX_RETRY_DELAY_S: Final = 5.0

STEPS: Final = Counter(
    "studio_steps_consumed_total", "Steps or orders that a consumer has handled.", ["consumer", "kind"]
)
BATCHES: Final = Histogram(
    "studio_batch_seconds", "Time from a batch's first message to its acknowledgement.", ["consumer"]
)
LAG: Final = Histogram(
    "studio_lag_seconds", "Age of a batch's oldest step once the batch was committed.", ["consumer"]
)
PENDING: Final = Gauge(
    "studio_pending_messages", "Messages in the stream not yet delivered to us.", ["consumer"]
)
RETRIES: Final = Counter(
    "studio_batch_retries_total", "Batches tried again, by error.", ["consumer", "error"]
)


class Dated(Protocol):
    """What messages hold: something of a kind, and since when."""

    @property
    def kind(self) -> str: ...

    @property
    def at(self) -> datetime: ...


T = TypeVar("T", bound=Dated)
Handler = Callable[[Sequence[T]], Awaitable[None]]


@dataclass(frozen=True)
class Broken:
    """A part of a message that cannot be read: its text, and why."""

    payload: bytes
    error: str


@dataclass(frozen=True)
class Form(Generic[T]):
    """How a message is read, and how the message of one item is written for the dead letters.

    `decode` raises Undecodable where nothing of the message can be read.
    """

    decode: Callable[[bytes], tuple[list[T], list[Broken]]]
    encode: Callable[[T], bytes]


@dataclass(frozen=True)
class _Item(Generic[T]):
    """What was read, and the message that brought it."""

    value: T
    message: Msg


class Consumer(Generic[T]):
    """Feeds batches to a handler that writes them in one transaction, idempotently.

    With `only`, messages of steps without one of these kinds are acknowledged unread.

    The handler raises Unavailable for what will pass (the batch is tried again, for ever) and anything
    else for what will not (the batch is halved until the culprit is alone and goes to the dead letters).
    """

    def __init__(
        self,
        puller: Puller,
        handler: Handler[T],
        dead_letters: DeadLetters,
        form: Form[T],
        *,
        most_messages: int = 500,
        only: frozenset[str] | None = None,
    ) -> None:
        self._puller = puller
        self._handler = handler
        self._dead_letters = dead_letters
        self._form = form
        self._most = most_messages
        self._only = only
        self._task: asyncio.Task[None] | None = None
        self._busy = False
        self._stopping = False
        self.blocked_by: str | None = None

    def start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run(), name=f"consume {self._puller.consumer}")
        return self._task

    async def stop(self, *, within_s: float = 10.0) -> None:
        """Finish the batch in hand within the bound, else hand it back."""
        self._stopping = True
        if self._task is None:
            return
        if self._busy:
            await asyncio.wait([self._task], timeout=within_s)
        await end(self._task)

    async def check(self) -> None:
        """Readiness: raises Unavailable while a batch cannot be written."""
        if self.blocked_by is not None:
            raise Unavailable(self.blocked_by)

    async def _run(self) -> None:
        while not self._stopping:
            messages = await self._puller.take(self._most)
            self._busy = True
            try:
                await self._batch(messages)
            except asyncio.CancelledError:
                await self._puller.hand_back(messages)
                raise
            finally:
                self._busy = False

    async def _batch(self, messages: Sequence[Msg]) -> None:
        started = monotonic()
        keep = asyncio.create_task(self._keep_in_progress(messages))
        try:
            items = await self._decode(messages)
            await self._handle(items)
            await self._acknowledge(messages)
        finally:
            keep.cancel()
        self._measure(items, messages, monotonic() - started)

    async def _decode(self, messages: Sequence[Msg]) -> list[_Item[T]]:
        items: list[_Item[T]] = []
        for message in messages:
            if not self._is_wanted(message):
                continue
            try:
                values, broken = self._form.decode(message.data)
            except Undecodable as error:
                await self._bury(message, message.data, "undecodable", str(error))
                continue
            items += [_Item(value, message) for value in values]
            for part in broken:
                await self._bury(message, part.payload, "undecodable", part.error)
        return items

    def _is_wanted(self, message: Msg) -> bool:
        """Whether the message is for this consumer and holds a kind it wants, told by subject and header."""
        parts = message.subject.split(".")
        if parts[:2] == ["run", "redo"] and parts[2] != self._puller.consumer:
            return False
        kinds = (message.headers or {}).get(KINDS_HEADER)
        return self._only is None or kinds is None or not self._only.isdisjoint(kinds.split(","))

    async def _handle(self, items: Sequence[_Item[T]]) -> None:
        """Hand over all items; halve them on a failure that is not going to pass."""
        if not items:
            return
        try:
            await self._until_available(lambda: self._handler([item.value for item in items]))
        except Exception as error:  # noqa: BLE001 - whatever it is, its culprit must be found and put aside
            if len(items) > 1:
                middle = len(items) // 2
                await self._handle(items[:middle])
                await self._handle(items[middle:])
                return
            reason = "permanent" if isinstance(error, Permanent) else "failed"
            text = f"{type(error).__name__}: {error}"
            await self._bury(items[0].message, self._form.encode(items[0].value), reason, text)

    async def _bury(self, message: Msg, payload: bytes, reason: str, error: str) -> None:
        """Put a part of a message into the dead letters; without their acknowledgement nothing goes on."""
        log.error(
            "dead letter", consumer=self._puller.consumer, subject=message.subject, reason=reason, error=error
        )
        await self._until_available(lambda: self._dead_letters.add(message, payload, reason, error))

    async def _until_available(self, act: Callable[[], Awaitable[None]]) -> None:
        """Try for as long as what the act needs is away; readiness tells of it meanwhile."""
        delay = FIRST_RETRY_DELAY_S
        while True:
            try:
                await act()
            except Unavailable as error:
                self.blocked_by = str(error)
                RETRIES.labels(self._puller.consumer, type(error.__cause__ or error).__name__).inc()
                log.warning("batch delayed", consumer=self._puller.consumer, error=str(error), wait_s=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_DELAY_S)
            else:
                self.blocked_by = None
                return

    async def _acknowledge(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            try:
                await message.ack()
            except MsgAlreadyAckdError:
                continue
            except (NatsError, OSError) as error:
                log.info("not acknowledged, will be redelivered", error=str(error))
                return

    async def _keep_in_progress(self, messages: Sequence[Msg]) -> None:
        while True:
            await asyncio.sleep(IN_PROGRESS_S)
            for message in messages:
                try:
                    await message.in_progress()
                except (NatsError, OSError) as error:
                    log.info("no heartbeat sent, messages may be redelivered", error=str(error))
                    break

    def _measure(self, items: Sequence[_Item[T]], messages: Sequence[Msg], seconds: float) -> None:
        name = self._puller.consumer
        BATCHES.labels(name).observe(seconds)
        PENDING.labels(name).set(messages[-1].metadata.num_pending)
        for kind, count in Counted(item.value.kind for item in items).items():
            STEPS.labels(name, kind).inc(count)
        if items:
            LAG.labels(name).observe((now() - min(item.value.at for item in items)).total_seconds())


def _decode_steps(data: bytes) -> tuple[list[Step], list[Broken]]:
    steps, broken = decode_each(data)
    return steps, [Broken(json.dumps([part.raw]).encode(), part.error) for part in broken]


STEPS_OF_RUNS: Final = Form[Step](_decode_steps, lambda step: encode_steps([step]))
