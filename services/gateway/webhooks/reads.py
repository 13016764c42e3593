"""The SQL that reads webhooks and deliveries for the API. Every statement names the project."""

from typing import Any, Final
from uuid import UUID

from services.gateway.webhooks.models import DeliveryStatus, DeliveryView, WebhookView
from shared.database import Connection

WEBHOOKS: Final = """
    SELECT id, url, events, active, description, created_at FROM webhooks WHERE project = $1
"""
COLUMNS: Final = """
    id, webhook_id, event_id, type, run_id, at, status, attempts, due_at, tried_at, response_status,
    duration_ms, error, created_at
"""
DELIVERIES: Final = f"""
    SELECT {COLUMNS} FROM webhook_deliveries WHERE project = $1 AND webhook_id = $2
"""  # noqa: S608 - constants


async def webhooks(connection: Connection, project: str) -> list[WebhookView]:
    """Newest first; there are few."""
    return [_webhook(row) for row in await connection.fetch(f"{WEBHOOKS} ORDER BY id DESC", project)]


async def webhook(connection: Connection, project: str, webhook_id: UUID) -> WebhookView | None:
    row = await connection.fetchrow(f"{WEBHOOKS} AND id = $2", project, webhook_id)
    return _webhook(row) if row else None


async def delivery(
    connection: Connection, project: str, webhook_id: UUID, delivery_id: UUID
) -> DeliveryView | None:
    row = await connection.fetchrow(f"{DELIVERIES} AND id = $3", project, webhook_id, delivery_id)
    return delivery_of(row) if row else None


async def deliveries(
    connection: Connection,
    project: str,
    webhook_id: UUID,
    page: tuple[DeliveryStatus | None, UUID | None, int],
) -> list[DeliveryView]:
    """Newest first. `page`: only those of a status, only those before an id, how many at most."""
    status, before, limit = page
    rows = await connection.fetch(
        f"{DELIVERIES} AND ($3::text IS NULL OR status = $3) AND ($4::uuid IS NULL OR id < $4) "
        "ORDER BY id DESC LIMIT $5",
        project,
        webhook_id,
        status,
        before,
        limit,
    )
    return [delivery_of(row) for row in rows]


def _webhook(row: Any) -> WebhookView:
    return WebhookView(**{**dict(row), "id": str(row["id"]), "events": tuple(row["events"])})


def delivery_of(row: Any) -> DeliveryView:
    """The view of a row with the columns above."""
    values = dict(row)
    due_at = values.pop("due_at")
    for name in ("id", "webhook_id", "run_id"):
        values[name] = str(values[name]) if values[name] else None
    return DeliveryView(**values, next_attempt_at=due_at if values["status"] == "pending" else None)
