"""Consuming from the bus: the one way in which every service takes messages from a durable consumer.

`Puller` keeps a bounded number of messages requested from the server and hands them out; `consume`
turns a puller into batches of steps for a handler, with the acknowledgement after the handler's commit,
endless patience for what will pass, and the dead letters for what never will.
"""

import asyncio
import json
from collections import Counter as Counted
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Final, Self

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MsgAlreadyAckdError
from prometheus_client import Counter, Gauge, Histogram

from shared.bus import KINDS_HEADER
from shared.dead_letters import DeadLetters
from shared.errors import Permanent, Unavailable
from shared.steps import Step, Undecodable, decode_each, encode_step, now

log = structlog.get_logger(__name__)

EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
SILENCE_S: Final = 2.5 * HEARTBEAT_S
IN_PROGRESS_S: Final = 8.0
MAX_RETRY_DELAY_S: Final = 5.0

STEPS = Counter("studio_steps_consumed_total", "Steps that a consumer has handled.", ["consumer", "kind"])
BATCHES = Histogram(
    "studio_batch_seconds", "Time from a batch's first message to its acknowledgement.", ["consumer"]
)
LAG = Histogram(
    "studio_lag_seconds", "Age of a batch's oldest step once the batch was committed.", ["consumer"]
)
PENDING = Gauge("studio_pending_messages", "Messages in the stream not yet delivered to us.", ["consumer"])
RETRIES = Counter("studio_batch_retries_total", "Batches tried again, by error.", ["consumer", "error"])
PULL_FAULTS = Counter(
    "studio_pull_faults_total", "Pull requests that the broker refused or forgot.", ["consumer", "fault"]
)


class Puller:
    """Messages of one durable consumer. The requested and the waiting never exceed `limit`."""

    def __init__(self, client: Client, stream: str, consumer: str, *, limit: int) -> None:
        self.consumer = consumer
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._limit = limit
        self._requested = 0
        self._waiting: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._heard = monotonic()
        self._reconnects = client.stats["reconnects"]
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._subscribe()
        self._keeper = asyncio.create_task(self._keep_requesting(), name=f"pull {self.consumer}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._unsubscribe()
        await self.hand_back(list(self._waiting))
        self._waiting.clear()

    def resize(self, limit: int) -> None:
        """How many messages may be requested and waiting from now on (a runner's free places)."""
        self._limit = limit
        self._room.set()

    async def take(self, most: int) -> list[Msg]:
        """Between 1 and `most` messages, in the order of arrival; waits for the first."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._room.set()
        return taken

    async def _receive(self, message: Msg) -> None:
        self._heard = monotonic()
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._requested = max(0, self._requested - 1)
            self._waiting.append(message)
            self._arrived.set()
        elif status != "100":
            self._end_of_request(status, message)

    def _end_of_request(self, status: str, message: Msg) -> None:
        """408: expired; 409: leader change, consumer deleted …; 503: nobody answers."""
        headers = message.headers or {}
        left = int(headers.get("Nats-Pending-Messages", self._requested))
        self._requested = max(0, self._requested - left)
        if status == "408":
            self._room.set()
            return
        # No new request at once: a deleted consumer would answer thousands of times a second.
        PULL_FAULTS.labels(self.consumer, status).inc()
        log.warning(
            "pull refused", consumer=self.consumer, status=status, description=headers.get("Description")
        )

    async def _keep_requesting(self) -> None:
        while True:
            await self._forget_lost_requests()
            room = self._limit - self._requested - len(self._waiting)
            # Half of the room at a time: one request for many messages, not one for each.
            if room > 0 and room * 2 >= self._limit and self._client.is_connected:
                await self._request(room)
            self._room.clear()
            try:
                # Not wait_for: it swallows a cancel that comes in the same moment as the event.
                async with asyncio.timeout(1.0):
                    await self._room.wait()
            except TimeoutError:
                continue

    async def _subscribe(self) -> None:
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)

    async def _unsubscribe(self) -> None:
        if self._subscription is None:
            return
        try:
            await self._subscription.unsubscribe()
        except (NatsError, OSError) as error:
            log.debug("not unsubscribed, the connection is gone", error=str(error))

    async def _forget_lost_requests(self) -> None:
        """A reconnect, a restart of the server or a change of leader loses requests without a word.

        Some come back to life after a reconnect; on a new inbox nobody hears them, so that the requested
        never exceed the limit.
        """
        reconnected = self._client.stats["reconnects"] != self._reconnects
        silent = self._requested > 0 and monotonic() - self._heard > SILENCE_S
        if reconnected or silent:
            PULL_FAULTS.labels(self.consumer, "reconnect" if reconnected else "silence").inc()
            self._reconnects = self._client.stats["reconnects"]
            self._requested = 0
            await self._unsubscribe()
            await self._subscribe()

    async def _request(self, count: int) -> None:
        ask = {"batch": count, "expires": int(EXPIRES_S * 1e9), "idle_heartbeat": int(HEARTBEAT_S * 1e9)}
        try:
            await self._client.publish(self._next, json.dumps(ask).encode(), reply=self._inbox)
        except (NatsError, OSError) as error:
            log.warning("pull failed", consumer=self.consumer, error=str(error))
            return
        self._requested += count
        self._heard = monotonic()

    async def hand_back(self, messages: Sequence[Msg]) -> None:
        """Let another consumer have them soon, instead of after the acknowledgement wait."""
        for message in messages:
            try:
                await message.nak(delay=0.1)
            except MsgAlreadyAckdError:
                continue
            except (NatsError, OSError) as error:
                log.info("not handed back, the server will redeliver", error=str(error))
                return


@dataclass(frozen=True)
class _Item:
    """A step and the message that brought it."""

    step: Step
    message: Msg


Handler = Callable[[Sequence[Step]], Awaitable[None]]


class StepConsumer:
    """Feeds batches of steps to a handler that writes them in one transaction, idempotently.

    With `only`, messages without a step of these kinds are acknowledged unread.

    The handler raises Unavailable for what will pass (the batch is tried again, for ever) and anything
    else for what will not (the batch is halved until the culprit is alone and goes to the dead letters).
    """

    def __init__(
        self,
        puller: Puller,
        handler: Handler,
        dead_letters: DeadLetters,
        *,
        most_messages: int = 500,
        only: frozenset[str] | None = None,
    ) -> None:
        self._puller = puller
        self._handler = handler
        self._dead_letters = dead_letters
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
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

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

    async def _decode(self, messages: Sequence[Msg]) -> list[_Item]:
        items: list[_Item] = []
        for message in messages:
            if not self._is_wanted(message):
                continue
            try:
                steps, broken = decode_each(message.data)
            except Undecodable as error:
                await self._bury(message, message.data, "undecodable", str(error))
                continue
            items += [_Item(step, message) for step in steps]
            for part in broken:
                await self._bury(message, json.dumps([part.raw]).encode(), "undecodable", part.error)
        return items

    def _is_wanted(self, message: Msg) -> bool:
        """The header names the kinds of steps, so that others' messages need not be parsed."""
        kinds = (message.headers or {}).get(KINDS_HEADER)
        return self._only is None or kinds is None or not self._only.isdisjoint(kinds.split(","))

    async def _handle(self, items: Sequence[_Item]) -> None:
        """Hand over all items; halve them on a failure that is not going to pass."""
        if not items:
            return
        try:
            await self._patiently([item.step for item in items])
        except Exception as error:  # noqa: BLE001 - whatever it is, its culprit must be found and put aside
            if len(items) > 1:
                middle = len(items) // 2
                await self._handle(items[:middle])
                await self._handle(items[middle:])
                return
            reason = "permanent" if isinstance(error, Permanent) else "failed"
            text = f"{type(error).__name__}: {error}"
            await self._bury(items[0].message, b"[" + encode_step(items[0].step) + b"]", reason, text)

    async def _patiently(self, steps: Sequence[Step]) -> None:
        delay = 0.05
        while True:
            try:
                await self._handler(steps)
            except Unavailable as error:
                self.blocked_by = str(error)
                RETRIES.labels(self._puller.consumer, type(error.__cause__ or error).__name__).inc()
                log.warning("batch delayed", consumer=self._puller.consumer, error=str(error), wait_s=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_DELAY_S)
            else:
                self.blocked_by = None
                return

    async def _bury(self, message: Msg, payload: bytes, reason: str, error: str) -> None:
        """Put a step into the dead letters; without their acknowledgement nothing goes on."""
        log.error(
            "dead letter", consumer=self._puller.consumer, subject=message.subject, reason=reason, error=error
        )
        delay = 0.05
        while True:
            try:
                await self._dead_letters.add(message, payload, reason, error)
            except Unavailable as failure:
                self.blocked_by = str(failure)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_DELAY_S)
            else:
                self.blocked_by = None
                return

    async def _acknowledge(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            try:
                await message.ack()
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

    def _measure(self, items: Sequence[_Item], messages: Sequence[Msg], seconds: float) -> None:
        name = self._puller.consumer
        BATCHES.labels(name).observe(seconds)
        PENDING.labels(name).set(messages[-1].metadata.num_pending)
        for kind, count in Counted(item.step.kind for item in items).items():
            STEPS.labels(name, kind).inc(count)
        if items:
            LAG.labels(name).observe((now() - min(item.step.at for item in items)).total_seconds())
