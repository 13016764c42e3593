"""Webhooks, and the log of what they were told."""

from collections.abc import Sequence
from typing import Unpack

from pydantic import JsonValue

from studio.client.automation_models import Delivery, NewWebhook, Webhook
from studio.client.calls.call import Call, Listing, items_reader, nothing, once, path, reader
from studio.client.models import Page
from studio.client.options import WebhookChanges, as_json


def webhooks() -> Call[tuple[Webhook, ...]]:
    """The webhooks of the project, newest first."""
    return Call("GET", path("webhooks"), items_reader(Page[Webhook]))


def webhook(webhook_id: str) -> Call[Webhook]:
    """A webhook, without its secret."""
    return Call("GET", path("webhooks", webhook_id), reader(Webhook))


def create_webhook(
    url: str,
    *,
    events: Sequence[str] | None = None,
    description: str = "",
    idempotency_key: str | None = None,
) -> Call[NewWebhook]:
    """Post events (None: all) to a URL from now on. Its `secret` is told here and never again."""
    body: dict[str, JsonValue] = {"url": url, "description": description}
    if events is not None:
        body["events"] = list(events)
    sent = once(idempotency_key)
    return Call("POST", path("webhooks"), reader(NewWebhook), body=body, headers=sent)


def update_webhook(webhook_id: str, **changes: Unpack[WebhookChanges]) -> Call[Webhook]:
    """Change a webhook; what is left out stays. While it is not `active`, no event is kept for it."""
    return Call("PATCH", path("webhooks", webhook_id), reader(Webhook), body=as_json(changes))


def delete_webhook(webhook_id: str) -> Call[None]:
    """Take a webhook away, with the log of its deliveries."""
    return Call("DELETE", path("webhooks", webhook_id), nothing, gone_is_done=True)


def send_test_event(webhook_id: str, *, idempotency_key: str | None = None) -> Call[Delivery]:
    """Send a webhook an event `webhook.test`."""
    sent = once(idempotency_key)
    return Call("POST", path("webhooks", webhook_id, "test"), reader(Delivery), headers=sent)


def deliveries(webhook_id: str, *, status: str | None = None, limit: int | None = None) -> Listing[Delivery]:
    """What a webhook was told (by `status`: pending, delivered, failed), newest first; at most `limit`."""
    query = {} if status is None else {"status": status}
    return Listing(Page[Delivery], path("webhooks", webhook_id, "deliveries"), limit, query)


def delivery(webhook_id: str, delivery_id: str) -> Call[Delivery]:
    """How the last attempt ended, and when the next one is."""
    return Call("GET", path("webhooks", webhook_id, "deliveries", delivery_id), reader(Delivery))


def redeliver(webhook_id: str, delivery_id: str) -> Call[Delivery]:
    """Send an event again, whatever became of it."""
    where = path("webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
    return Call("POST", where, reader(Delivery))
