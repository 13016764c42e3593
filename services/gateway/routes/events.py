"""Following a run live, as server-sent events."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import OnlyKnown, RunIdPath, run_key
from services.gateway.auth import Caller
from services.gateway.event_feed import EventFeed
from services.gateway.event_response import EventResponse
from services.gateway.openapi import answers
from services.gateway.parts import parts_of
from services.gateway.problems import NOT_FOUND

router: Final = APIRouter(prefix="/api/runs", tags=["runs"], dependencies=[OnlyKnown])
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
        **answers(NOT_FOUND),
        200: {
            "description": "Server-sent events until the run has ended.",
            "content": {"text/event-stream": {"itemSchema": EVENT, "example": examples.EVENTS}},
        },
    },
)
async def follow_run(
    request: Request,
    caller: Caller,
    run_id: RunIdPath,
    after: Annotated[int, Query(ge=-1, le=10**9, description="As Last-Event-ID.")] = -1,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID", pattern="^[0-9]{1,9}$", description="The id of the last step that arrived."
        ),
    ] = None,
) -> Response:
    """Every step once and in order (`step`, its id is the seq), between them what is not stored (`delta`:
    pieces of the answer, waits before retries), at last `end` with the run as `POST /api/runs?wait=` has it.

    A stream that breaks off is taken up with `Last-Event-ID`, without loss or repetition of a step. Values
    over 64 KiB stand as `{"$body": sha256, "bytes": size}`. A client that reads too slowly loses deltas
    first, then the connection. A comment line comes after each silence of GATEWAY_HEARTBEAT_S (15 s by
    default). The stream ends when the API key is revoked or expires.
    """
    parts = parts_of(request)
    place = parts.streams.reserve("events")
    try:
        found = await parts.runs.find(run_key(caller, run_id))
    except BaseException:
        place.release()
        raise
    start = after if last_event_id is None else int(last_event_id)
    feed = EventFeed(parts.hub, parts.runs, found, start, lambda: parts.key_ring.renew(caller))
    request.scope["is_stream"] = True
    return EventResponse(feed.frames(), feed.buffer, place)
