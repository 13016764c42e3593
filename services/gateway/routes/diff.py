"""How two runs differ."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.answers import JSON
from services.gateway.auth import Caller
from services.gateway.examples import OTHER_ID, RUN_ID
from services.gateway.openapi.describe import gives, operation_id, refuses
from services.gateway.parts import parts_of
from services.gateway.routes.parameters import OnlyKnown, run_key
from shared.diff import RunDiff

router: Final = APIRouter(
    prefix="/api/diff", tags=["runs"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
UUID_FORMAT: Final = {"format": "uuid"}
Left = Annotated[
    str,
    Query(
        description="The run that counts as the original.", examples=[RUN_ID], json_schema_extra=UUID_FORMAT
    ),
]
Right = Annotated[
    str,
    Query(
        description="The run that is compared with it; it may be any of the project.",
        examples=[OTHER_ID],
        json_schema_extra=UUID_FORMAT,
    ),
]


@router.get(
    "",
    summary="Compare two runs",
    response_model=RunDiff,
    responses={
        **refuses("no-such-run", "long-diff", "large-diff", "busy-diff", "database-away", "broker-away"),
        **gives("run-diff"),
    },
)
async def diff_two_runs(request: Request, caller: Caller, left: Left, right: Right) -> Response:
    """Their steps aligned, equal stretches collapsed, with what differs in texts (by word and as a unified
    diff) and in values; what differs in what they were given; tokens, cost and time of both. A run that goes
    on is compared as far as it has come. Runs of up to 20,000 steps and 16 MiB together can be compared."""
    keys = [run_key(caller, run_id) for run_id in (left, right)]
    return Response(await parts_of(request).diffs.json(*keys), media_type=JSON)
