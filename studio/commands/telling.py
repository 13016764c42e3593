"""Whom to tell of events, and what they were told, from the command line."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from studio.client.automation_models import Delivery, Webhook
from studio.client.errors import StudioError
from studio.client.options import WebhookChanges
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.lists import print_list
from studio.commands.reference import the_one
from studio.terminal.automation import deliveries_table, webhooks_table
from studio.terminal.output import notices, results, write_json, write_line
from studio.terminal.text import plain

RECENT: Final = 500
# How long a person is kept waiting for the answer to a test.
ANSWER_PATIENCE_S: Final = 12.0
PAUSE_S: Final = 0.2


def list_webhooks(*, as_json: bool) -> None:
    with connected() as studio:
        found = studio.webhooks()
    nobody = "there are no webhooks; `studio webhooks add URL` adds one"
    print_list(found, webhooks_table(found, datetime.now(UTC)), nobody, as_json=as_json)


def add_webhook(url: str, events: Sequence[str] | None, description: str, *, as_json: bool) -> None:
    with connected() as studio:
        made = studio.create_webhook(url, events=events, description=description)
    if as_json:
        write_json(made)
        return
    notices().print(Text(plain(f"added webhook {made.id}; keep its secret, it is not shown again:")))
    write_line(made.secret)


def change_webhook(typed: str, changes: WebhookChanges) -> None:
    with connected() as studio:
        hook = studio.update_webhook(_hook(studio, typed).id, **changes)
    state = f"is told of {', '.join(hook.events)}" if hook.active else "is off: no event is kept for it"
    _say(f"webhook {hook.id} at {hook.url} {state}")


def redirect_webhook(
    typed: str, url: str | None, events: Sequence[str] | None, description: str | None
) -> None:
    """What is None stays."""
    changes: WebhookChanges = {}
    if url is not None:
        changes["url"] = url
    if events is not None:
        changes["events"] = events
    if description is not None:
        changes["description"] = description
    change_webhook(typed, changes)


def test_webhook(typed: str) -> None:
    with connected() as studio:
        delivery = studio.send_test_event(_hook(studio, typed).id)
        _tell_answer(studio, delivery)


def redeliver(typed: str, typed_delivery: str) -> None:
    with connected() as studio:
        hook = _hook(studio, typed)
        listed_by = f"webhooks deliveries {hook.id[-8:]}"
        delivery = the_one(studio.deliveries(hook.id, limit=RECENT), typed_delivery, "delivery", listed_by)
        _tell_answer(studio, studio.redeliver(hook.id, delivery.id))


def list_deliveries(typed: str, status: str | None, limit: int, *, as_json: bool) -> None:
    with connected() as studio:
        found = list(studio.deliveries(_hook(studio, typed).id, status=status, limit=limit))
    nothing = "nothing is like that" if status else "it was told nothing yet"
    print_list(found, deliveries_table(found, datetime.now(UTC)), nothing, as_json=as_json)


def remove_webhook(typed: str) -> None:
    with connected() as studio:
        hook = _hook(studio, typed)
        studio.delete_webhook(hook.id)
    _say(f"removed webhook {hook.id} at {hook.url}")


def _hook(studio: Studio, typed: str) -> Webhook:
    return the_one(studio.webhooks(), typed, "webhook", "webhooks")


def _tell_answer(studio: Studio, sent: Delivery) -> None:
    """How the attempt ended that was just asked for; ends the command with code 1 when it was no success."""
    deadline, now = time.monotonic() + ANSWER_PATIENCE_S, sent
    while now.tried_at == sent.tried_at and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        now = studio.delivery(sent.webhook_id, sent.id)
    if now.status == "delivered":
        _say(f"delivered: answered HTTP {now.response_status} in {now.duration_ms} ms")
        return
    short = sent.webhook_id[-8:]
    why = now.error or "no answer yet"
    raise StudioError(f"not delivered: {why}; `studio webhooks deliveries {short}` shows how it goes on")


def _say(text: str) -> None:
    results().print(Text(plain(text)))
