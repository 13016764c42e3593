"""Schedules: runs by the clock. Make, look at, change, pause, resume, start now."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

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
from services.gateway.requests import ScheduleChange, ScheduleInput
from services.gateway.routes.creation import id_for, uuid_of
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown
from services.gateway.schedules.book import no_such_schedule, run_of
from services.gateway.schedules.models import ScheduleList, ScheduleView, TickList
from services.gateway.starter import Order
from services.gateway.views import Accepted
from shared.steps import RunStatus

router: Final = APIRouter(
    prefix="/api/schedules",
    tags=["schedules"],
    dependencies=[OnlyKnown],
    generate_unique_id_function=operation_id,
)
SchedulePath = Annotated[
    str,
    Path(
        description="The id of a schedule, as POST /api/schedules answers it.",
        examples=[examples.SCHEDULE_ID],
        json_schema_extra={"format": "uuid"},
    ),
]
LAST_SECOND: Final = 2**33
"""Beyond it a place in a list of ticks is none."""


@router.post(
    "",
    status_code=201,
    summary="Make a schedule",
    response_model=ScheduleView,
    responses={
        **refuses(
            "read-only-key",
            "key-reused-elsewhere",
            "cron-never-fires",
            "database-away",
            "no-runner",
            body=True,
        ),
        **gives("schedule", status=201, description="It is made.", headers=(REPLAYED_HEADER,)),
    },
    openapi_extra=takes(ScheduleInput, examples.SCHEDULE_INPUT),
)
async def create_schedule(
    request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Starts the run `input` whenever the cron line is due in its time zone: one run each time.

    The input is checked as POST /api/runs checks it. A project has at most 100 schedules.
    """
    asked = await read_model(request, ScheduleInput)
    schedule_id, is_replay = await id_for(request, caller, idempotency_key, asked)
    made = await parts_of(request).schedules.create(caller, schedule_id, asked)
    return json_answer(made, 201, headers=replay_headers(is_replay))


@router.get(
    "",
    summary="List schedules",
    response_model=ScheduleList,
    responses={**refuses("database-away"), **gives("schedule-list")},
)
async def list_schedules(request: Request, caller: Caller) -> Response:
    """All of the project, newest first; there are at most 100."""
    return json_answer(ScheduleList(items=await parts_of(request).schedules.all(caller.project)))


@router.get(
    "/{schedule_id}",
    summary="A schedule",
    response_model=ScheduleView,
    responses={**refuses("no-such-schedule", "database-away"), **gives("schedule")},
)
async def get_schedule(request: Request, caller: Caller, schedule_id: SchedulePath) -> Response:
    """With the times at which it was due last and is due next."""
    return json_answer(await parts_of(request).schedules.get(caller.project, _known(schedule_id)))


@router.patch(
    "/{schedule_id}",
    summary="Change a schedule",
    response_model=ScheduleView,
    responses={
        **refuses(
            "read-only-key", "no-such-schedule", "cron-never-fires", "database-away", "no-runner", body=True
        ),
        **gives("schedule"),
    },
    openapi_extra=takes(ScheduleChange, examples.SCHEDULE_CHANGE),
)
async def change_schedule(request: Request, caller: Caller, schedule_id: SchedulePath) -> Response:
    """What is left out stays. The times of the new line begin now; runs that have started are left alone."""
    asked = await read_model(request, ScheduleChange)
    return json_answer(await parts_of(request).schedules.change(caller, _known(schedule_id), asked))


@router.delete(
    "/{schedule_id}",
    status_code=204,
    summary="Delete a schedule",
    responses=refuses("read-only-key", "no-such-schedule", "database-away"),
)
async def delete_schedule(request: Request, caller: Caller, schedule_id: SchedulePath) -> Response:
    """With the list of its times; the runs that it started stay."""
    await parts_of(request).schedules.delete(caller.project, _known(schedule_id))
    return Response(status_code=204)


@router.post(
    "/{schedule_id}/pause",
    summary="Pause a schedule",
    response_model=ScheduleView,
    responses={
        **refuses("read-only-key", "no-such-schedule", "database-away"),
        **gives("paused-schedule", description="It is paused."),
    },
)
async def pause_schedule(request: Request, caller: Caller, schedule_id: SchedulePath) -> Response:
    """Times that it would be due at while it is paused are not missed: there are none."""
    switched = await parts_of(request).schedules.switch(caller.project, _known(schedule_id), active=False)
    return json_answer(switched)


@router.post(
    "/{schedule_id}/resume",
    summary="Resume a schedule",
    response_model=ScheduleView,
    responses={
        **refuses("read-only-key", "no-such-schedule", "database-away"),
        **gives("schedule", description="It is active."),
    },
)
async def resume_schedule(request: Request, caller: Caller, schedule_id: SchedulePath) -> Response:
    """It is due again from now on; the times of the pause are not made up for."""
    switched = await parts_of(request).schedules.switch(caller.project, _known(schedule_id), active=True)
    return json_answer(switched)


@router.post(
    "/{schedule_id}/trigger",
    status_code=202,
    summary="Start a schedule's run now",
    response_model=Accepted,
    responses={
        **refuses(
            "read-only-key", "no-such-schedule", "key-reused", "too-many-runs", "database-away", "no-runner"
        ),
        **gives(
            "accepted",
            status=202,
            description="The run is on the broker's disk.",
            headers=(REPLAYED_HEADER,),
        ),
    },
)
async def trigger_schedule(
    request: Request, caller: Caller, schedule_id: SchedulePath, idempotency_key: IdempotencyKey = None
) -> Response:
    """Besides its times, which stay as they are; also while it is paused."""
    parts = parts_of(request)
    schedule = await parts.schedules.get(caller.project, _known(schedule_id))
    order = Order(caller, request.url.path, run_of(schedule.input), idempotency_key)
    prepared = await parts.waiter.start(order)
    run_id = request.scope["run_id"] = prepared.key.run_id
    status = RunStatus.QUEUED
    if prepared.is_replay:
        status = (await parts.runs.find(prepared.key)).view.status
    accepted = Accepted(run_id=run_id, status=status)
    return json_answer(accepted, 202, headers=replay_headers(prepared.is_replay))


@router.get(
    "/{schedule_id}/ticks",
    summary="The times of a schedule",
    response_model=TickList,
    responses={**refuses("no-such-schedule", "bad-cursor", "database-away"), **gives("tick-list")},
)
async def list_ticks(
    request: Request,
    caller: Caller,
    schedule_id: SchedulePath,
    limit: Annotated[int, Query(ge=1, le=200, description="Most times of the page.", examples=[20])] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The next_cursor of the page before; none for the first.",
            examples=[encode_cursor(str(UUID(int=1_795_000_000)))],
        ),
    ] = None,
) -> Response:
    """When it was due and the run of each time, newest first; kept for 30 days. Runs that were started by
    `trigger` are not in here."""
    before = (
        datetime.fromtimestamp(min(decode_cursor(cursor).int, LAST_SECOND), UTC)
        if cursor is not None
        else None
    )
    found = await parts_of(request).schedules.ticks(caller.project, _known(schedule_id), before, limit + 1)
    items = tuple(found[:limit])
    following = (
        encode_cursor(str(UUID(int=int(items[-1].due_at.timestamp())))) if len(found) > limit else None
    )
    return json_answer(TickList(items=items, next_cursor=following))


def _known(schedule_id: str) -> UUID:
    return uuid_of(schedule_id, no_such_schedule(schedule_id))
