"""A project's webhooks and the log of their deliveries, as the API works on them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from services.gateway.problems import NOT_FOUND, Problem, invalid
from services.gateway.reads import answered
from services.gateway.webhooks import reads, store
from services.gateway.webhooks.event import TEST, Event
from services.gateway.webhooks.models import (
    DeliveryStatus,
    DeliveryView,
    NewWebhook,
    WebhookChange,
    WebhookInput,
    WebhookView,
)
from services.gateway.webhooks.sender import Sender
from services.gateway.webhooks.signature import secret_of, shown
from shared.database import Connection, Database

MOST: Final = 20
Result = TypeVar("Result")


class Webhooks:
    """Methods raise Problem (404, 422) and Unavailable."""

    def __init__(self, database: Database, sender: Sender, pepper: str) -> None:
        self._database = database
        self._sender = sender
        self._pepper = pepper

    async def create(self, project: str, webhook_id: UUID, asked: WebhookInput) -> NewWebhook:
        """To repeat it with the same id changes nothing."""
        host = await self._sender.judge(asked.url)
        values = (webhook_id, asked.url, host, list(asked.events), asked.active, asked.description)
        await self._do(lambda connection: store.add(connection, project, values, MOST))
        made = await self._do(lambda connection: reads.webhook(connection, project, webhook_id))
        if made is None:
            raise invalid("url", f"this project has {MOST} webhooks, which is the most; delete one first")
        return NewWebhook(**dict(made), secret=shown(secret_of(self._pepper, made.id)))

    async def all(self, project: str) -> tuple[WebhookView, ...]:
        return tuple(await self._do(lambda connection: reads.webhooks(connection, project)))

    async def get(self, project: str, webhook_id: UUID) -> WebhookView:
        found = await self._do(lambda connection: reads.webhook(connection, project, webhook_id))
        if found is None:
            raise no_such_webhook(str(webhook_id))
        return found

    async def change(self, project: str, webhook_id: UUID, asked: WebhookChange) -> WebhookView:
        host = await self._sender.judge(asked.url) if asked.url is not None else None
        events = list(asked.events) if asked.events is not None else None
        values = (asked.url, host, events, asked.active, asked.description)
        await self._do(lambda connection: store.change(connection, project, webhook_id, values))
        return await self.get(project, webhook_id)

    async def delete(self, project: str, webhook_id: UUID) -> None:
        if not await self._do(lambda connection: store.delete(connection, project, webhook_id)):
            raise no_such_webhook(str(webhook_id))

    async def test(self, project: str, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        """Send an event that is about no run. To repeat it with the same id changes nothing."""
        if not (await self.get(project, webhook_id)).active:
            raise invalid("active", "the webhook is switched off; switch it on first")
        event = Event(f"evt_{delivery_id}", TEST, project, datetime.now(UTC), None)
        added = await self._do(
            lambda connection: store.add_test(connection, project, webhook_id, delivery_id, event)
        )
        return added or await self.delivery(project, webhook_id, delivery_id)

    async def deliveries(
        self, project: str, webhook_id: UUID, page: tuple[DeliveryStatus | None, UUID | None, int]
    ) -> list[DeliveryView]:
        """Newest first; `page` as `reads.deliveries` takes it."""
        await self.get(project, webhook_id)
        return await self._do(lambda connection: reads.deliveries(connection, project, webhook_id, page))

    async def delivery(self, project: str, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        found = await self._do(
            lambda connection: reads.delivery(connection, project, webhook_id, delivery_id)
        )
        if found is None:
            raise no_such_delivery(str(delivery_id))
        return found

    async def redeliver(self, project: str, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        """Begin anew with the attempts; the event keeps its id."""
        found = await self._do(
            lambda connection: store.send_again(connection, project, webhook_id, delivery_id)
        )
        if found is None:
            raise no_such_delivery(str(delivery_id))
        return found

    async def _do(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        return await answered(self._database, work)


def no_such_webhook(webhook_id: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no webhook {webhook_id[:64]!r}; GET /api/webhooks lists them")


def no_such_delivery(delivery_id: str) -> Problem:
    return Problem(
        NOT_FOUND,
        f"the webhook has no delivery {delivery_id[:64]!r}; they are kept for 14 days, "
        "GET /api/webhooks/{webhook_id}/deliveries lists them",
    )
