"""Every request of the API and how its answer is read, for both clients; one noun a file. Pure.

A call may always be made again: one that creates something carries an idempotency key.
"""

from studio.client.calls import (
    agents,
    batches,
    bundles,
    replays,
    runs,
    schedules,
    sessions,
    tools,
    waiting,
    webhooks,
)

__all__ = [
    "agents",
    "batches",
    "bundles",
    "replays",
    "runs",
    "schedules",
    "sessions",
    "tools",
    "waiting",
    "webhooks",
]
