"""Pulling messages of a durable consumer from the bus: a bounded number requested, and handed out in order.

What is done with the messages is decided elsewhere (`consumer`, the runner's worker).
"""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MsgAlreadyAckdError
from prometheus_client import Counter

from shared.tasks import end

log = structlog.get_logger(__name__)

EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
SILENCE_S: Final = 2.5 * HEARTBEAT_S

PULL_FAULTS: Final = Counter(
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
            await end(self._keeper)
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
