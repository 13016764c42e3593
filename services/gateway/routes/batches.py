"""Batches: up to 10,000 runs in one request, and how far they are."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.batches.batches import BatchOrder
from services.gateway.batches.lines import MOST_LINES, as_written, split
from services.gateway.batches.views import BatchCancelled, BatchList, BatchView
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import body_chunks, media_type_of, read_body
from services.gateway.openapi.describe import HEADERS, gives, operation_id, references, refuses
from services.gateway.parts import parts_of
from services.gateway.problems import NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Problem, invalid
from services.gateway.routes.parameters import Cursor, IdempotencyKey, Limit, OnlyKnown

router: Final = APIRouter(
    prefix="/api", tags=["batches"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
NDJSON: Final = "application/x-ndjson"
RUNS_SCHEMA: Final = {
    "type": "array",
    "items": {"type": "object"},
    "minItems": 1,
    "maxItems": MOST_LINES,
}
_objects: Final = TypeAdapter(list[dict[str, Any]])

BatchPath = Annotated[
    str,
    Path(
        description="The id of a batch, the end of the Location of its upload.",
        examples=[examples.RUN_ID],
        json_schema_extra={"format": "uuid"},
    ),
]
BatchName = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="What to call the batch.",
        examples=["nightly questions"],
    ),
]


@router.post(
    "/runs/batch",
    status_code=202,
    summary="Start many runs",
    response_class=Response,
    responses={
        **refuses(
            "read-only-key",
            "batch-key-reused",
            "empty-batch",
            "bad-idempotency-key",
            "too-many-runs",
            "no-runner",
            "database-away",
            body=True,
        ),
        202: {
            "description": "What is accepted is on disk. One line for each run, in the same order.",
            "headers": {name: HEADERS[name] for name in ("Location", REPLAYED_HEADER)},
            "content": {NDJSON: {"schema": {"type": "string"}, "examples": references("batch-lines")}},
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                # No type: every JSON value is text on the wire, and so is what is none.
                NDJSON: {"schema": {}, "examples": references("batch-upload")},
                "application/json": {"schema": RUNS_SCHEMA, "examples": references("batch-array")},
            },
        }
    },
)
async def start_batch(
    request: Request, caller: Caller, name: BatchName = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """One run a line, as in `POST /api/runs`; of any size as NDJSON, up to 1 MiB as a JSON array. A first
    line `{"defaults": {…}}` holds for all others. The runs start in turn, after all that are interactive.

    A line that is no run is answered with its problem and the others are taken. An upload that breaks off is
    repeated with the same Idempotency-Key: what was taken is answered with the same runs.
    """
    order = BatchOrder(caller, request.url.path, name, idempotency_key)
    upload, is_replay = await parts_of(request).batches.receive(order, _lines(request))
    lines = [answer.model_dump_json(exclude_defaults=True).encode() + b"\n" for answer in upload.answers]
    headers = {"Location": f"/api/batches/{upload.batch.id}", **replay_headers(is_replay)}
    return Response(b"".join(lines), 202, headers=headers, media_type=NDJSON)


@router.get(
    "/batches",
    summary="List batches",
    response_model=BatchList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("batch-list")},
)
async def list_batches(
    request: Request, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Newest first, each with how far its runs are and what they cost so far."""
    before = decode_cursor(cursor) if cursor is not None else None
    found = await parts_of(request).batches.page(caller.project, before, limit + 1)
    more = encode_cursor(found[limit - 1].batch_id) if len(found) > limit else None
    return json_answer(BatchList(items=tuple(found[:limit]), next_cursor=more))


@router.get(
    "/batches/{batch_id}",
    summary="How far a batch is",
    response_model=BatchView,
    responses={**refuses("no-such-batch", "database-away"), **gives("batch")},
)
async def get_batch(request: Request, caller: Caller, batch_id: BatchPath) -> Response:
    """Its runs by status, with their tokens and cost so far."""
    return json_answer(await parts_of(request).batches.get(caller.project, _id(batch_id)))


@router.post(
    "/batches/{batch_id}/cancel",
    status_code=202,
    summary="Cancel a batch",
    response_model=BatchCancelled,
    responses={
        **refuses("read-only-key", "no-such-batch", "database-away"),
        **gives("batch-cancelled", status=202, description="Its unfinished runs were asked to stop."),
    },
)
async def cancel_batch(request: Request, caller: Caller, batch_id: BatchPath) -> Response:
    """Asks its unfinished runs to stop; those that still wait for their turn end without a model call. It can
    be asked again: then those that are left are asked."""
    who = f"key {caller.key_name} ({caller.key_id})"
    return json_answer(await parts_of(request).batches.cancel(caller, _id(batch_id), who), 202)


def _lines(request: Request) -> AsyncIterator[bytes]:
    essence = media_type_of(request)
    if essence in (NDJSON, "application/jsonl"):
        return split(body_chunks(request))
    if essence == "application/json":
        return _elements(request)
    raise Problem(
        UNSUPPORTED_MEDIA_TYPE, f"the content type is {essence[:80]!r}; send {NDJSON} or application/json"
    )


async def _elements(request: Request) -> AsyncIterator[bytes]:
    try:
        values = _objects.validate_json(await read_body(request))
    except ValidationError:
        raise invalid("body", "give a JSON array of objects, the fields of a run each") from None
    if len(values) > MOST_LINES:
        raise invalid("body", f"a batch has at most {MOST_LINES:,} runs; this has {len(values):,}")
    for value in values:
        yield as_written(value)


def _id(text: str) -> UUID:
    """Raises Problem (404) for what can be no batch's id."""
    try:
        return UUID(text)
    except ValueError:
        raise Problem(NOT_FOUND, f"there is no batch {text[:64]!r}; GET /api/batches lists them") from None
