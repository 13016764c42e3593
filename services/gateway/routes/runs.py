"""Runs: start, list, look at, cancel, delete. Following one live is in `events.py`."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import (
    JSON,
    IdempotencyKey,
    OnlyKnown,
    RunIdPath,
    Wait,
    json_answer,
    run_key,
)
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.key_ring import Principal
from services.gateway.limits import read_model
from services.gateway.openapi import answers, gives, takes
from services.gateway.parts import parts_of
from services.gateway.problems import KEY_REUSED, NOT_FOUND, RUN_ACTIVE, RUN_FINISHED
from services.gateway.reads import RunFilter
from services.gateway.requests import CancelInput, RunInput
from services.gateway.starter import Order
from services.gateway.step_pages import page_of, with_steps
from services.gateway.views import Accepted, RunDetail, RunList, RunView, StepList
from shared.steps import RunStatus

router: Final = APIRouter(prefix="/api/runs", tags=["runs"], dependencies=[OnlyKnown])
REPLAYED: Final = {"Idempotent-Replayed": "true"}
FIRST_STEPS: Final = 1000
Label = Annotated[str | None, Field(max_length=200, pattern=r"^[^\x00]*$")]


class RunQuery(BaseModel):
    """Which runs, and how many of them."""

    status: RunStatus | None = None
    agent: Label = None
    model: Label = None
    session_id: Label = None
    user_id: Label = None
    group: Label = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(
        default=None, max_length=100, description="The next_cursor of the page before."
    )

    @property
    def filter(self) -> RunFilter:
        labels = self.model_dump(include={"agent", "model", "session_id", "user_id"})
        return RunFilter(**labels, status=self.status.value if self.status else None, group_name=self.group)


@router.post(
    "",
    status_code=202,
    summary="Start a run",
    responses={
        **answers(KEY_REUSED, body=True),
        200: {
            "model": RunView,
            "description": "With `wait`: the run has finished.",
            "content": {JSON: {"example": examples.RUN}},
        },
        202: {
            "model": Accepted | RunView,
            "description": "The run is on the broker's disk. With `wait`: it goes on.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the run is."}},
            "content": {JSON: {"example": examples.ACCEPTED}},
        },
    },
    openapi_extra=takes(RunInput, {"prompt": examples.PROMPT}),
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
    "", summary="List runs", response_model=RunList, responses={**answers(), **gives(examples.RUN_LIST)}
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
    responses={**answers(NOT_FOUND), **gives(examples.RUN_DETAIL)},
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
    responses={**answers(NOT_FOUND), **gives(examples.STEP_LIST)},
)
async def list_steps(
    request: Request,
    caller: Caller,
    run_id: RunIdPath,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="Only steps behind this seq.")] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
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
    responses={**answers(NOT_FOUND), **gives("a long text …", description="The value's JSON text.")},
)
async def get_body(request: Request, caller: Caller, run_id: RunIdPath, sha256: str) -> Response:
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
        **answers(NOT_FOUND, RUN_FINISHED, body=True),
        **gives(
            {**examples.ACCEPTED, "status": "running"}, status=202, description="The run was asked to stop."
        ),
    },
    openapi_extra=takes(CancelInput, {"why": "asked the wrong question"}, required=False),
)
async def cancel_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """Asks the runner to stop; the run ends as `cancelled` within moments. To ask twice changes nothing."""
    key = run_key(caller, run_id)
    why = (await read_model(request, CancelInput, optional=True)).why
    status = await parts_of(request).lifecycle.cancel(key, _who(caller), why)
    return json_answer(Accepted(run_id=run_id, status=status), 202)


@router.delete(
    "/{run_id}",
    status_code=204,
    summary="Delete a run",
    responses={
        **answers(NOT_FOUND, RUN_ACTIVE),
        202: {"description": "The run is gone for every reader; its content is being erased."},
    },
)
async def delete_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """Erases a finished run's content from database and broker; what it cost stays counted."""
    is_erased = await parts_of(request).erasure.delete(run_key(caller, run_id), _who(caller))
    return Response(status_code=204 if is_erased else 202)


def _headers(run_id: str, is_replay: bool) -> dict[str, str]:
    return {"Location": f"/api/runs/{run_id}", **(REPLAYED if is_replay else {})}


def _who(caller: Principal) -> str:
    return f"key {caller.key_name} ({caller.key_id})"
