"""Runs: start, list, look at, cancel, delete. Following one live is in `events.py`."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import JSON, json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.reads import RunFilter
from services.gateway.requests import CancelInput, RunInput
from services.gateway.routes.parameters import (
    After,
    BodyPath,
    IdempotencyKey,
    OnlyKnown,
    RunIdPath,
    Wait,
    run_key,
    who,
)
from services.gateway.starter import Order
from services.gateway.step_pages import page_of, with_steps
from services.gateway.views import Accepted, RunDetail, RunList, RunView, StepList
from shared.steps import RunStatus

router: Final = APIRouter(
    prefix="/api/runs", tags=["runs"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
STARTED_HEADERS: Final = ("Location", REPLAYED_HEADER)
FIRST_STEPS: Final = 1000
Label = Annotated[str | None, Field(max_length=200, pattern=r"^[^\x00]*$")]


class RunQuery(BaseModel):
    """Which runs, and how many of them."""

    status: RunStatus | None = Field(
        default=None, description="Only runs that are so now.", examples=["failed"]
    )
    agent: Label = Field(default=None, description="Only runs of this agent.", examples=["assistant"])
    model: Label = Field(default=None, description="Only runs with this model.", examples=[examples.MODEL])
    session_id: Label = Field(default=None, description="Only runs of this session.", examples=["session-7"])
    user_id: Label = Field(default=None, description="Only runs for this user.", examples=["user-42"])
    group: Label = Field(default=None, description="Only runs with this label.", examples=["nightly"])
    replay_id: UUID | None = Field(
        default=None, description="Only runs of this replay.", examples=[examples.REPLAY_ID]
    )
    source_run_id: UUID | None = Field(
        default=None, description="Only runs that replay this run.", examples=[examples.RUN_ID]
    )
    verifications: bool = Field(
        default=False,
        description="Runs that only verify another run too; else they are listed with replay_id or "
        "source_run_id alone.",
        examples=[True],
    )
    limit: int = Field(default=50, ge=1, le=200, description="Most runs of the page.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=100,
        description="The next_cursor of the page before; none for the first.",
        examples=[encode_cursor(examples.RUN_ID)],
    )

    @property
    def filter(self) -> RunFilter:
        same = self.model_dump(exclude={"status", "group", "limit", "cursor"})
        return RunFilter(**same, status=self.status.value if self.status else None, group_name=self.group)


@router.post(
    "",
    status_code=202,
    summary="Start a run",
    responses={
        **refuses(
            "read-only-key",
            "key-reused",
            "hot-parameter",
            "unknown-tool",
            "bad-idempotency-key",
            "too-many-runs",
            "not-confirmed",
            "no-runner",
            body=True,
        ),
        **gives(
            "finished-run",
            description="With `wait`: the run has finished.",
            headers=STARTED_HEADERS,
            model=RunView,
        ),
        **gives(
            "accepted",
            "running-run",
            status=202,
            description="The run is on the broker's disk. With `wait`: it goes on.",
            headers=STARTED_HEADERS,
            model=Accepted | RunView,
        ),
    },
    openapi_extra=takes(RunInput, examples.RUN_INPUT),
)
async def start_run(
    request: Request, caller: Caller, wait: Wait = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answers once the broker has the run on its disk: from then on it will be run, whatever crashes.

    With `wait`, the answer comes when the run has finished (200), or after that many seconds with the run
    as it is then (202). Values of any text field may be cut out by redaction before they are stored.
    """
    order = Order(caller, request.url.path, await read_model(request, RunInput), idempotency_key)
    waiter = parts_of(request).waiter
    if wait is not None:
        view, is_replay = await waiter.start_and_wait(order, wait)
        request.scope["run_id"] = view.run_id
        return json_answer(
            view, 200 if view.status.is_final else 202, headers=_headers(view.run_id, is_replay)
        )
    prepared = await waiter.start(order)
    run_id = request.scope["run_id"] = prepared.key.run_id
    status = RunStatus.QUEUED
    if prepared.is_replay:
        status = (await parts_of(request).runs.find(prepared.key)).view.status
    accepted = Accepted(run_id=run_id, status=status)
    return json_answer(accepted, 202, headers=_headers(run_id, prepared.is_replay))


@router.get(
    "",
    summary="List runs",
    response_model=RunList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("run-list")},
)
async def list_runs(request: Request, caller: Caller, query: Annotated[RunQuery, Query()]) -> Response:
    """Newest first. A run shows up here moments after it was accepted; by its id it is there at once."""
    before = decode_cursor(query.cursor) if query.cursor is not None else None
    views = await parts_of(request).runs.newest(caller.project, query.filter, before, query.limit + 1)
    items = tuple(views[: query.limit])
    more = len(views) > query.limit
    return json_answer(RunList(items=items, next_cursor=encode_cursor(items[-1].run_id) if more else None))


@router.get(
    "/{run_id}",
    summary="A run with its steps",
    response_model=RunDetail,
    responses={**refuses("no-such-run", "broker-away"), **gives("run-with-steps")},
)
async def get_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """The run and its first 1,000 steps; `next_after` says where to go on with the steps."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    page = page_of(await parts.runs.steps(found, -1, FIRST_STEPS + 1), FIRST_STEPS)
    texts = await parts.bodies.inflated(found.run, page.texts)
    head = found.view.model_dump_json().encode()
    return Response(with_steps(head, "steps", texts, page.next_after), media_type=JSON)


@router.get(
    "/{run_id}/steps",
    summary="A run's steps",
    response_model=StepList,
    responses={**refuses("no-such-run", "bad-after", "broker-away"), **gives("step-list")},
)
async def list_steps(
    request: Request,
    caller: Caller,
    run_id: RunIdPath,
    after: After = -1,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most steps of the page.", examples=[500])] = 200,
) -> Response:
    """In order. Values over 64 KiB are put back in place while a page stays small (256 KiB each, 1 MiB in
    all); a larger one stands as `{"$body": sha256, "bytes": size}`."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    page = page_of(await parts.runs.steps(found, after, limit + 1), limit)
    texts = await parts.bodies.inflated(found.run, page.texts)
    return Response(with_steps(b"{}", "items", texts, page.next_after), media_type=JSON)


@router.get(
    "/{run_id}/bodies/{sha256}",
    summary="A large value of a run",
    response_model=JsonValue,
    responses={
        **refuses("no-such-run", "no-such-body", "broker-away"),
        **gives("large-value", description="The value's JSON text."),
    },
)
async def get_body(request: Request, caller: Caller, run_id: RunIdPath, sha256: BodyPath) -> Response:
    """What stands in a step as `{"$body": sha256, "bytes": size}`."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    return Response(await parts.runs.body(found, sha256), media_type=JSON)


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    summary="Cancel a run",
    response_model=Accepted,
    responses={
        **refuses("read-only-key", "no-such-run", "run-finished", "unknown-field", "broker-away", body=True),
        **gives("asked-to-stop", status=202, description="The run was asked to stop."),
    },
    openapi_extra=takes(CancelInput, examples.CANCEL_INPUT, required=False),
)
async def cancel_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """Asks the runner to stop; the run ends as `cancelled` within moments. To ask twice changes nothing."""
    key = run_key(caller, run_id)
    why = (await read_model(request, CancelInput, optional=True)).why
    status = await parts_of(request).lifecycle.cancel(key, who(caller), why)
    return json_answer(Accepted(run_id=run_id, status=status), 202)


@router.delete(
    "/{run_id}",
    status_code=204,
    summary="Delete a run",
    responses={
        **refuses("read-only-key", "no-such-run", "run-active", "database-away"),
        202: {"description": "The run is gone for every reader; its content is being erased."},
    },
)
async def delete_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """Erases a finished run's content from database and broker; what it cost stays counted."""
    is_erased = await parts_of(request).erasure.delete(run_key(caller, run_id), who(caller))
    return Response(status_code=204 if is_erased else 202)


def _headers(run_id: str, is_replay: bool) -> dict[str, str]:
    return {"Location": f"/api/runs/{run_id}", **replay_headers(is_replay)}
