"""Replays: order, list, look at, cancel; what a run comes from and what has come of it."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.key_ring import Principal
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.replaying.orders import Wish
from services.gateway.replays.inputs import Mode, ReplayInput
from services.gateway.replays.reads import ReplayFilter
from services.gateway.replays.refusals import no_such_diff, no_such_replay
from services.gateway.replays.views import (
    Lineage,
    ReplayAccepted,
    ReplayDetail,
    ReplayList,
    ReplayRunList,
)
from services.gateway.routes.creation import id_for, uuid_of
from services.gateway.routes.parameters import (
    Cursor,
    IdempotencyKey,
    Limit,
    OnlyKnown,
    RunIdPath,
    run_key,
    who,
)
from shared.diff.models import RunDiff
from shared.replay_results import ReplayStatus

router: Final = APIRouter(
    prefix="/api", tags=["replays"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
OF_SOURCES: Final = ("source-active", "source-verified", "no-such-run")
OF_ORDERS: Final = (
    "bad-fork-step",
    "live-irreversible",
    "too-many-replays",
    "bad-expression",
    "changed-model",
)
ReplayPath = Annotated[
    str,
    Path(
        description="The id of a replay, as POST /api/replays answers it.",
        examples=[examples.REPLAY_ID],
        json_schema_extra={"format": "uuid"},
    ),
]


class ReplayQuery(BaseModel):
    """Which replays, and how many of them."""

    mode: Mode | None = Field(default=None, description="Only replays of this mode.", examples=["fork"])
    status: ReplayStatus | None = Field(
        default=None, description="Only replays that are so now.", examples=["running"]
    )
    run_id: UUID | None = Field(
        default=None, description="Only replays of this run.", examples=[examples.RUN_ID]
    )
    limit: int = Field(default=50, ge=1, le=200, description="Most replays of the page.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=100,
        description="The next_cursor of the page before; none for the first.",
        examples=[encode_cursor(examples.REPLAY_ID)],
    )

    @property
    def filter(self) -> ReplayFilter:
        run_id = str(self.run_id) if self.run_id is not None else None
        return ReplayFilter(mode=self.mode, status=self.status, run_id=run_id)


@router.post(
    "/replays",
    status_code=202,
    summary="Replay runs",
    response_model=ReplayAccepted,
    responses={
        **refuses(
            *("read-only-key", "key-reused-elsewhere", *OF_SOURCES, *OF_ORDERS),
            *("replay-not-confirmed", "database-away"),
            body=True,
        ),
        **gives(
            "replay-accepted",
            status=202,
            description="The replay is on the broker's disk.",
            headers=("Location", REPLAYED_HEADER),
        ),
    },
    openapi_extra=takes(ReplayInput, examples.REPLAY_INPUT),
)
async def start_replay(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """Verifies runs, runs them again with anything changed, forks them at a step, or looks for the step that
    is to blame. A comparison comes with a verdict.

    All is checked before the answer: nothing is stored of what is refused.
    """
    asked = await read_model(request, ReplayInput)
    replay_id, is_known = await id_for(request, caller, idempotency_key, asked)
    status = await parts_of(request).replays.place(wish(caller, asked), replay_id, is_known=is_known)
    headers = {"Location": f"/api/replays/{replay_id}", **replay_headers(is_known)}
    return json_answer(ReplayAccepted(replay_id=str(replay_id), status=status), 202, headers=headers)


@router.get(
    "/replays",
    summary="List replays",
    response_model=ReplayList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("replay-list")},
)
async def list_replays(request: Request, caller: Caller, query: Annotated[ReplayQuery, Query()]) -> Response:
    """Newest first. A replay shows up here moments after it was accepted; by its id it is there at once."""
    before = decode_cursor(query.cursor) if query.cursor is not None else None
    found = await parts_of(request).replays.page(caller.project, query.filter, before, query.limit + 1)
    items, more = tuple(found[: query.limit]), len(found) > query.limit
    cursor = encode_cursor(items[-1].replay_id) if more else None
    return json_answer(ReplayList(items=items, next_cursor=cursor))


@router.get(
    "/replays/{replay_id}",
    summary="A replay",
    response_model=ReplayDetail,
    responses={**refuses("no-such-replay", "database-away"), **gives("replay", "queued-replay")},
)
async def get_replay(request: Request, caller: Caller, replay_id: ReplayPath) -> Response:
    """What was ordered, what has come of it so far, and its first 50 runs."""
    return json_answer(await parts_of(request).replays.get(caller.project, _known(replay_id)))


@router.get(
    "/replays/{replay_id}/runs",
    summary="The runs of a replay",
    response_model=ReplayRunList,
    responses={
        **refuses("no-such-replay", "large-limit", "bad-cursor", "database-away"),
        **gives("replay-runs"),
    },
)
async def list_replay_runs(
    request: Request, caller: Caller, replay_id: ReplayPath, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """With what each was measured by, in the order of their ids."""
    after = decode_cursor(cursor) if cursor is not None else None
    found = await parts_of(request).replays.runs(caller.project, _known(replay_id), after, limit + 1)
    items, more = tuple(found[:limit]), len(found) > limit
    return json_answer(
        ReplayRunList(items=items, next_cursor=encode_cursor(items[-1].run_id) if more else None)
    )


@router.get(
    "/replays/{replay_id}/diffs/{run_id}",
    summary="How a run of a replay differs",
    response_model=RunDiff,
    responses={
        **refuses("no-such-diff", "database-away"),
        **gives("run-diff"),
    },
)
async def get_replay_diff(
    request: Request, caller: Caller, replay_id: ReplayPath, run_id: RunIdPath
) -> Response:
    """The stored difference between the run and the one that it replays."""
    of = uuid_of(run_id, no_such_diff(run_id))
    return json_answer((await parts_of(request).replays.diff(caller.project, _known(replay_id), of)).diff)


@router.post(
    "/replays/{replay_id}/cancel",
    status_code=202,
    summary="Cancel a replay",
    response_model=ReplayAccepted,
    responses={
        **refuses(
            "read-only-key", "no-such-replay", "replay-finished", "replay-not-confirmed", "database-away"
        ),
        **gives("replay-cancelled", status=202, description="It starts no more runs; those under way stop."),
    },
)
async def cancel_replay(request: Request, caller: Caller, replay_id: ReplayPath) -> Response:
    """What has been measured stays. To ask twice changes nothing."""
    known = _known(replay_id)
    status = await parts_of(request).replays.cancel(caller.project, known, who(caller))
    return json_answer(ReplayAccepted(replay_id=str(known), status=status), 202)


@router.get(
    "/runs/{run_id}/lineage",
    summary="What a run comes from and what has come of it",
    response_model=Lineage,
    responses={**refuses("no-such-run", "database-away"), **gives("lineage")},
)
async def get_lineage(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """The tree of replays in which the run is, from the first run on. Runs that only verify another are left
    out, but for the one that is asked about."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    return json_answer(await parts.replays.lineage(found.view, caller.project))


def wish(caller: Principal, asked: ReplayInput) -> Wish:
    runs = tuple(run_key(caller, run_id) for run_id in asked.sources)
    return Wish(caller.project, who(caller), asked, runs)


def _known(replay_id: str) -> UUID:
    return uuid_of(replay_id, no_such_replay(replay_id))
