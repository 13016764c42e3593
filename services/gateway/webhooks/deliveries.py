"""The sending: what is due is claimed by one gateway, tried, and tried again with growing pauses for a day.

At least once: a gateway that stops between the answer and the note of it leaves the row to the next one,
and the receiver sees the same `Webhook-Id` again.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import structlog
from prometheus_client import Counter

from services.gateway.webhooks import store
from services.gateway.webhooks.sender import Attempt, Sender
from services.gateway.webhooks.signature import secret_of, signed
from services.gateway.webhooks.store import Claimed
from shared.database import Database
from shared.errors import StudioError
from shared.tasks import end

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
PACE_S: Final = 0.01  # a backlog for a host that fails at once must not take the gateway's whole time
MOST_AT_ONCE: Final = 32
MOST_OF_A_HOST: Final = 4
MOST_OF_A_PROJECT: Final = 8
LEASE: Final = timedelta(seconds=60)
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 4 * 3600.0
MOST_ATTEMPTS: Final = 14  # over about a day
KEPT: Final = timedelta(days=14)
FORGET_EVERY_S: Final = 600.0
MOST_FORGOTTEN: Final = 5000
ATTEMPTS: Final = Counter(
    "studio_webhook_attempts_total",
    "Attempts to deliver an event to a webhook: delivered, retried or given up.",
    ["outcome"],
)


class Deliveries:
    def __init__(
        self, database: Database, sender: Sender, pepper: str, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._database = database
        self._sender = sender
        self._pepper = pepper
        self._chance = chance
        self._underway: dict[asyncio.Task[None], Claimed] = {}
        self._forget_at = monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                for delivery in await self._claim():
                    task = asyncio.create_task(self._deliver(delivery), name="deliver to a webhook")
                    self._underway[task] = delivery
                await self._pause()
        finally:
            await end(*self._underway)

    async def _pause(self) -> None:
        """Until an attempt has ended, for that makes room, or it is time to look again."""
        await asyncio.sleep(PACE_S if self._underway else EVERY_S)
        if not self._underway:
            return
        done, _ = await asyncio.wait(self._underway, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self._underway[task]
            task.result()

    async def _claim(self) -> list[Claimed]:
        room = store.Room(MOST_AT_ONCE - len(self._underway), MOST_OF_A_HOST, MOST_OF_A_PROJECT)
        if room.places <= 0:
            return []
        try:
            async with self._database.transaction() as connection:
                if monotonic() >= self._forget_at:
                    await store.forget(connection, KEPT, MOST_FORGOTTEN)
                    self._forget_at = monotonic() + FORGET_EVERY_S
                return await store.claim(connection, room, LEASE, self._underway.values())
        except StudioError as error:
            log.info("webhooks wait for the database", error=str(error))
            return []

    async def _deliver(self, delivery: Claimed) -> None:
        secret = secret_of(self._pepper, delivery.webhook_id)
        headers = signed(delivery.event, secret, datetime.now(UTC))
        attempt = await self._sender.send(delivery.url, delivery.event.body, headers)
        status = status_after(attempt, delivery.attempts)
        pause = timedelta(seconds=pause_s(delivery.attempts, self._chance()))
        ATTEMPTS.labels("retried" if status == "pending" else status).inc()
        if status == "failed":
            log.warning("an event was given up", webhook_id=delivery.webhook_id, error=attempt.error)
        try:
            async with self._database.transaction() as connection:
                await store.finish(connection, delivery, status, pause, attempt)
        except StudioError as error:  # the lease bounds when it is tried again
            log.info("a delivery was not noted", delivery_id=str(delivery.id), error=str(error))


def status_after(attempt: Attempt, attempts: int) -> str:
    if attempt.error is None:
        return "delivered"
    return "failed" if attempts >= MOST_ATTEMPTS else "pending"


def pause_s(attempts: int, chance: float) -> float:
    """5 s, 15 s, 45 s … 4 h, each a fifth shorter or longer by `chance`, which is between 0 and 1."""
    pause: float = min(FIRST_PAUSE_S * 3 ** min(attempts - 1, 20), LONGEST_PAUSE_S)
    return pause * (0.8 + 0.4 * chance)
