"""Webhooks and deliveries as the API's description shows them."""

from typing import Any, Final

WEBHOOK_ID: Final = "019a9f20-1111-7b7e-9a56-6f4a3c1d2e5f"
DELIVERY_ID: Final = "019a9f20-2222-7b7e-9a56-6f4a3c1d2e5f"
TEST_ID: Final = "019a9f20-3333-7b7e-9a56-6f4a3c1d2e5f"
URL: Final = "https://example.com/hooks/studio"
AT: Final = "2026-11-20T08:30:00.989000Z"
SHORTEST: Final[dict[str, Any]] = {"url": URL}
GIVEN: Final[dict[str, Any]] = {
    "url": URL,
    "events": ["run.failed", "run.waiting"],
    "description": "tells the team",
}
CHANGE: Final[dict[str, Any]] = {"active": False}
WEBHOOK: Final[dict[str, Any]] = {"id": WEBHOOK_ID, **GIVEN, "active": True, "created_at": AT}
NEW_WEBHOOK: Final = {**WEBHOOK, "secret": "whsec_…"}


def delivery(run_id: str) -> dict[str, Any]:
    """The delivery of the event of a run that failed, which has arrived."""
    return {
        "id": DELIVERY_ID,
        "webhook_id": WEBHOOK_ID,
        "event_id": f"evt_{run_id}_2",
        "type": "run.failed",
        "run_id": run_id,
        "at": AT,
        "status": "delivered",
        "attempts": 1,
        "next_attempt_at": None,
        "tried_at": AT,
        "response_status": 204,
        "duration_ms": 87,
        "error": None,
        "created_at": AT,
    }


def failing(run_id: str) -> dict[str, Any]:
    """The same, while the receiver does not want it."""
    refused = {"status": "pending", "next_attempt_at": AT, "response_status": 500, "error": "answered 500"}
    return {**delivery(run_id), **refused}


def waiting(delivery: dict[str, Any]) -> dict[str, Any]:
    """One that is to be sent, for the first time or again."""
    return {**delivery, "status": "pending", "attempts": 0, "next_attempt_at": AT}


TEST_DELIVERY: Final = {
    **waiting(delivery(TEST_ID)),
    "id": TEST_ID,
    "event_id": f"evt_{TEST_ID}",
    "type": "webhook.test",
    "run_id": None,
    "tried_at": None,
    "response_status": None,
    "duration_ms": None,
}
