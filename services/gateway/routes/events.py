"""Following a run live, as server-sent events."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.auth import Caller
from services.gateway.event_feed import EventFeed
from services.gateway.event_response import EventResponse
from services.gateway.openapi.describe import gives, operation_id, references, refuses
from services.gateway.parts import parts_of
from services.gateway.routes.parameters import After, LastEventId, OnlyKnown, RunIdPath, run_key

router: Final = APIRouter(
    prefix="/api/runs", tags=["runs"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
EVENT: Final = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["step", "delta", "end"]},
        "id": {"type": "string", "description": "Of a step: its seq."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


@router.get(
    "/{run_id}/events",
    summary="Follow a run",
    response_class=Response,
    responses={
        **refuses("no-such-run", "bad-after", "bad-event-id", "too-many-streams", "broker-away"),
        **gives(
            "events",
            description="Server-sent events until the run has ended.",
            content={"text/event-stream": {"itemSchema": EVENT, "examples": references("events")}},
        ),
    },
)
async def follow_run(
    request: Request,
    caller: Caller,
    run_id: RunIdPath,
    after: After = -1,
    last_event_id: LastEventId = None,
) -> Response:
    """Every step once and in order (`step`, its id is the seq), between them what is not stored (`delta`:
    pieces of the answer, waits before retries), at last `end` with the run as `POST /api/runs?wait=` has it.

    A stream that breaks off is taken up with `Last-Event-ID`, without loss or repetition of a step. Values
    over 64 KiB stand as `{"$body": sha256, "bytes": size}`. A client that reads too slowly loses deltas
    first, then the connection. A comment line comes after each silence of GATEWAY_HEARTBEAT_S (15 s by
    default). The stream ends when the API key is revoked or expires.
    """
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    start = after if last_event_id is None else int(last_event_id)
    feed = EventFeed(parts.hub, parts.runs, found, start, lambda: parts.key_ring.renew(caller))
    request.scope["is_stream"] = True
    # Nothing waits from here to the response, which gives the place back.
    return EventResponse(feed.frames(), feed.buffer, parts.streams.reserve("events"))
