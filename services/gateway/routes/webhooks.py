"""Webhooks: whom to tell of events, a test, and the log of what was told."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.routes.creation import id_for, uuid_of
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown
from services.gateway.webhooks import examples as shown
from services.gateway.webhooks.hooks import no_such_delivery, no_such_webhook
from services.gateway.webhooks.models import (
    DeliveryList,
    DeliveryStatus,
    DeliveryView,
    NewWebhook,
    WebhookChange,
    WebhookInput,
    WebhookList,
    WebhookView,
)

router: Final = APIRouter(
    prefix="/api/webhooks",
    tags=["webhooks"],
    dependencies=[OnlyKnown],
    generate_unique_id_function=operation_id,
)
HookPath = Annotated[
    str,
    Path(
        description="The id of a webhook, as POST /api/webhooks answers it.",
        examples=[shown.WEBHOOK_ID],
        json_schema_extra={"format": "uuid"},
    ),
]
DeliveryPath = Annotated[
    str,
    Path(
        description="The id of a delivery, as the webhook's list has it.",
        examples=[shown.DELIVERY_ID],
        json_schema_extra={"format": "uuid"},
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Make a webhook",
    response_model=NewWebhook,
    responses={
        **refuses("read-only-key", "key-reused-elsewhere", "private-url", "database-away", body=True),
        **gives(
            "new-webhook",
            status=201,
            description="The one answer that has the secret.",
            headers=(REPLAYED_HEADER,),
        ),
    },
    openapi_extra=takes(WebhookInput, examples.WEBHOOK_INPUT),
)
async def create_webhook(
    request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """From now on events of the project's runs are posted to the URL, signed with the secret.

    The URL must lead to a public address, now and whenever an event is sent. A project has at most 20.
    """
    asked = await read_model(request, WebhookInput)
    webhook_id, is_replay = await id_for(request, caller, idempotency_key, asked)
    made = await parts_of(request).webhooks.create(caller.project, webhook_id, asked)
    return json_answer(made, 201, headers=replay_headers(is_replay))


@router.get(
    "",
    summary="List webhooks",
    response_model=WebhookList,
    responses={**refuses("database-away"), **gives("webhook-list")},
)
async def list_webhooks(request: Request, caller: Caller) -> Response:
    """All of the project, newest first; there are at most 20."""
    return json_answer(WebhookList(items=await parts_of(request).webhooks.all(caller.project)))


@router.get(
    "/{webhook_id}",
    summary="A webhook",
    response_model=WebhookView,
    responses={**refuses("no-such-webhook", "database-away"), **gives("webhook")},
)
async def get_webhook(request: Request, caller: Caller, webhook_id: HookPath) -> Response:
    """Without its secret, which only the answer to its creation has."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    return json_answer(await parts_of(request).webhooks.get(caller.project, known))


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    response_model=WebhookView,
    responses={
        **refuses("read-only-key", "no-such-webhook", "private-url", "database-away", body=True),
        **gives("webhook"),
    },
    openapi_extra=takes(WebhookChange, examples.WEBHOOK_CHANGE),
)
async def change_webhook(request: Request, caller: Caller, webhook_id: HookPath) -> Response:
    """What is left out stays. While it is not active, new events are not kept for it, and what is on its way
    waits."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    asked = await read_model(request, WebhookChange)
    return json_answer(await parts_of(request).webhooks.change(caller.project, known, asked))


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=refuses("read-only-key", "no-such-webhook", "database-away"),
)
async def delete_webhook(request: Request, caller: Caller, webhook_id: HookPath) -> Response:
    """With the log of its deliveries; what is being sent at this moment may still arrive."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    await parts_of(request).webhooks.delete(caller.project, known)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send a test event",
    response_model=DeliveryView,
    responses={
        **refuses("read-only-key", "no-such-webhook", "key-reused-elsewhere", "webhook-off", "database-away"),
        **gives("test-delivery", status=202, description="It is on its way.", headers=(REPLAYED_HEADER,)),
    },
)
async def send_test_event(
    request: Request, caller: Caller, webhook_id: HookPath, idempotency_key: IdempotencyKey = None
) -> Response:
    """An event of the type `webhook.test`, about no run, signed, sent and logged as all others are."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    delivery_id, is_replay = await id_for(request, caller, idempotency_key)
    delivery = await parts_of(request).webhooks.test(caller.project, known, delivery_id)
    return json_answer(delivery, 202, headers=replay_headers(is_replay))


@router.get(
    "/{webhook_id}/deliveries",
    summary="The log of deliveries",
    response_model=DeliveryList,
    responses={**refuses("no-such-webhook", "bad-cursor", "database-away"), **gives("delivery-list")},
)
async def list_deliveries(
    request: Request,
    caller: Caller,
    webhook_id: HookPath,
    status: Annotated[
        DeliveryStatus | None, Query(description="Only deliveries that are so now.", examples=["failed"])
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=200, description="Most deliveries of the page.", examples=[20])
    ] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The next_cursor of the page before; none for the first.",
            examples=[encode_cursor(shown.DELIVERY_ID)],
        ),
    ] = None,
) -> Response:
    """Newest first; deliveries are kept for 14 days."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    before = decode_cursor(cursor) if cursor is not None else None
    found = await parts_of(request).webhooks.deliveries(caller.project, known, (status, before, limit + 1))
    items = tuple(found[:limit])
    following = encode_cursor(items[-1].id) if len(found) > limit else None
    return json_answer(DeliveryList(items=items, next_cursor=following))


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    summary="A delivery",
    response_model=DeliveryView,
    responses={
        **refuses("no-such-webhook", "no-such-delivery", "database-away"),
        **gives("delivery", "failing-delivery"),
    },
)
async def get_delivery(
    request: Request, caller: Caller, webhook_id: HookPath, delivery_id: DeliveryPath
) -> Response:
    """How the last attempt ended, and when the next one is."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    delivery = uuid_of(delivery_id, no_such_delivery(delivery_id))
    return json_answer(await parts_of(request).webhooks.delivery(caller.project, known, delivery))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Deliver an event again",
    response_model=DeliveryView,
    responses={
        **refuses("read-only-key", "no-such-delivery", "database-away"),
        **gives("delivery-again", status=202, description="It is on its way again."),
    },
)
async def redeliver(
    request: Request, caller: Caller, webhook_id: HookPath, delivery_id: DeliveryPath
) -> Response:
    """Whatever became of it: the attempts begin anew, with the same `Webhook-Id` in the same row."""
    known = uuid_of(webhook_id, no_such_webhook(webhook_id))
    delivery = uuid_of(delivery_id, no_such_delivery(delivery_id))
    return json_answer(await parts_of(request).webhooks.redeliver(caller.project, known, delivery), 202)
