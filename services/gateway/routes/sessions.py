"""Sessions: which there are, their runs, and the notes that agents keep in them."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.requests import NoteInput
from services.gateway.routes.parameters import Cursor, Limit, OnlyKnown
from services.gateway.sessions.views import NoteList, SessionDetail, SessionList
from shared.memory import Note

router: Final = APIRouter(
    prefix="/api/sessions",
    tags=["sessions"],
    dependencies=[OnlyKnown],
    generate_unique_id_function=operation_id,
)
# With its slashes: a session_id may have them.
SessionPath = Annotated[
    str, Path(max_length=200, description="The session_id of its runs.", examples=["session-7"])
]
KeyPath = Annotated[str, Path(max_length=128, description="The key of the note.", examples=["language"])]
ONE: Final = "/{session_id:path}"
NOTES: Final = f"{ONE}/memory"
NOTE: Final = f"{NOTES}/{{key}}"


@router.get(
    "",
    summary="List sessions",
    response_model=SessionList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("session-list")},
)
async def list_sessions(
    request: Request, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Those used last come first, each with what its runs add up to."""
    before = decode_cursor(cursor) if cursor is not None else None
    found = await parts_of(request).sessions.page(caller.project, before, limit + 1)
    more = encode_cursor(found[limit - 1].last_run_id) if len(found) > limit else None
    return json_answer(SessionList(items=tuple(found[:limit]), next_cursor=more))


@router.get(
    NOTES,
    summary="The notes of a session",
    response_model=NoteList,
    responses={**refuses("broker-away"), **gives("note-list")},
)
async def list_notes(request: Request, caller: Caller, session_id: SessionPath) -> Response:
    """What agents remember in this session from run to run; empty for a session without notes."""
    notes = await parts_of(request).sessions.notes(caller.project, session_id)
    return json_answer(NoteList(items=notes))


@router.get(
    NOTE,
    summary="A note of a session",
    response_model=Note,
    responses={**refuses("no-such-note", "broker-away"), **gives("note")},
)
async def get_note(request: Request, caller: Caller, session_id: SessionPath, key: KeyPath) -> Response:
    """One of the things that agents remember in this session."""
    return json_answer(await parts_of(request).sessions.note(caller.project, session_id, key))


@router.put(
    NOTE,
    summary="Write a note of a session",
    response_model=Note,
    responses={**refuses("read-only-key", "long-note", "broker-away", body=True), **gives("note")},
    openapi_extra=takes(NoteInput, examples.NOTE_INPUT),
)
async def put_note(request: Request, caller: Caller, session_id: SessionPath, key: KeyPath) -> Response:
    """In place of what was there; agents read it from their next look on. A session has up to 200 notes."""
    text = (await read_model(request, NoteInput)).text
    return json_answer(await parts_of(request).sessions.put_note(caller.project, session_id, key, text))


@router.delete(
    NOTE,
    status_code=204,
    summary="Delete a note of a session",
    responses=refuses("read-only-key", "no-such-note", "broker-away"),
)
async def delete_note(request: Request, caller: Caller, session_id: SessionPath, key: KeyPath) -> Response:
    """Erases it; agents do not find it any more."""
    await parts_of(request).sessions.delete_note(caller.project, session_id, key)
    return Response(status_code=204)


@router.get(
    ONE,
    summary="A session with its runs",
    response_model=SessionDetail,
    responses={**refuses("no-such-session", "bad-cursor", "database-away"), **gives("session")},
)
async def get_session(
    request: Request, caller: Caller, session_id: SessionPath, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Its totals, and its runs, the oldest first, each with its last snapshot of the memory."""
    sessions = parts_of(request).sessions
    after = decode_cursor(cursor) if cursor is not None else None
    view = await sessions.get(caller.project, session_id)
    runs = await sessions.runs(caller.project, session_id, after, limit + 1)
    more = encode_cursor(runs[limit - 1].run_id) if len(runs) > limit else None
    return json_answer(SessionDetail(**dict(view), items=tuple(runs[:limit]), next_cursor=more))
