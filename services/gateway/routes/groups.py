"""Groups: the labels of runs, what their runs add up to, and stopping all of them."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.groups.views import GroupCancelled, GroupList, GroupView
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.requests import CancelInput
from services.gateway.routes.parameters import OnlyKnown, who

router: Final = APIRouter(
    prefix="/api/groups", tags=["groups"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)


class LabelConvertor(PathConvertor):
    """A label may hold slashes; what ends as the path of a cancel does is one, also for GET."""

    regex = r"(?!.+/cancel$).+"


register_url_convertor("label", LabelConvertor())
GroupPath = Annotated[
    str,
    Path(
        description="The label of the runs, as `group` of POST /api/runs.",
        examples=["nightly"],
        max_length=200,
        pattern=r"^[^\x00]+$",
    ),
]


class GroupQuery(BaseModel):
    """How many groups, and from where on."""

    limit: int = Field(default=50, ge=1, le=200, description="Most groups of the page.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=100,
        description="The next_cursor of the page before; none for the first.",
        examples=[encode_cursor(examples.RUN_ID)],
    )


@router.get(
    "",
    summary="List groups",
    response_model=GroupList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("group-list")},
)
async def list_groups(request: Request, caller: Caller, query: Annotated[GroupQuery, Query()]) -> Response:
    """The labels of runs; the one whose newest run was created last comes first."""
    before = decode_cursor(query.cursor) if query.cursor is not None else None
    found = await parts_of(request).groups.page(caller.project, before, query.limit + 1)
    items, more = found[: query.limit], len(found) > query.limit
    cursor = encode_cursor(items[-1][1]) if more else None
    return json_answer(GroupList(items=tuple(view for view, _ in items), next_cursor=cursor))


@router.post(
    "/{group:path}/cancel",
    status_code=202,
    summary="Cancel all runs of a group",
    response_model=GroupCancelled,
    responses={
        **refuses("read-only-key", "no-such-group", "unknown-field", "database-away", body=True),
        **gives("group-cancelled", status=202, description="These runs were asked to stop."),
    },
    openapi_extra=takes(CancelInput, examples.CANCEL_INPUT, required=False),
)
async def cancel_group(request: Request, caller: Caller, group: GroupPath) -> Response:
    """Asks at most 500 unfinished runs to stop, those first that were created first; repeat the request while
    `left` is not 0. Those that still wait for their turn end without having begun. Runs that were accepted a
    moment ago may not be known here yet."""
    why = (await read_model(request, CancelInput, optional=True)).why
    return json_answer(await parts_of(request).groups.cancel(caller.project, group, who(caller), why), 202)


@router.get(
    "/{group:label}",
    summary="A group",
    response_model=GroupView,
    responses={**refuses("no-such-group", "database-away"), **gives("group")},
)
async def get_group(request: Request, caller: Caller, group: GroupPath) -> Response:
    """What its runs add up to; the runs themselves: `GET /api/runs?group=…`."""
    return json_answer(await parts_of(request).groups.get(caller.project, group))
