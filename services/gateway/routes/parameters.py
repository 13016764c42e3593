"""What the routes take from path, query and headers; a parameter that a route does not have is refused."""

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Query
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

from services.gateway.cursor import encode_cursor
from services.gateway.examples import BODY_SHA256, RUN_ID
from services.gateway.idempotency import HEADER
from services.gateway.key_ring import Principal
from services.gateway.problems import Problem, invalid, no_such_run
from shared.steps import RunId
from shared.subjects import RunKey

_run_id: TypeAdapter[str] = TypeAdapter(RunId)

RunIdPath = Annotated[
    str,
    Path(
        description="The id of a run, as POST /api/runs answers it.",
        examples=[RUN_ID],
        json_schema_extra={"format": "uuid"},
    ),
]
BodyPath = Annotated[
    str,
    Path(
        description="The $body of a reference in a step of the run.",
        examples=[BODY_SHA256],
        json_schema_extra={"pattern": "^[0-9a-f]{64}$"},
    ),
]
Wait = Annotated[
    float | None,
    Query(gt=0, le=300, description="Seconds to wait for the end of the run; default: none.", examples=[30]),
]
After = Annotated[
    int,
    Query(ge=-1, le=2**31 - 1, description="Only steps behind this seq; -1: from the first.", examples=[3]),
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern="^[0-9]{1,9}$",
        description="The id of the last step that arrived; wins over after. Browsers send it by themselves.",
        examples=["6"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="Most items of the page.", examples=[20])]
Cursor = Annotated[
    str | None,
    Query(
        max_length=100,
        description="The next_cursor of the page before; none for the first.",
        examples=[encode_cursor(RUN_ID)],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="Repeat a request with the same key, and there is one run: the same body "
        "answers with the first run, another body is refused. "
        "1 to 255 printable ASCII characters; kept for 7 days.",
        examples=["order-1234"],
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
    ),
]


def run_key(principal: Principal, run_id: str) -> RunKey:
    """The caller's run of that id. Raises Problem (404) for what can be no run's id."""
    try:
        return RunKey(principal.project, _run_id.validate_python(run_id))
    except ValidationError:
        raise no_such_run(run_id) from None


def who(principal: Principal) -> str:
    """The caller in the words that logs of runs and versions keep."""
    return f"key {principal.key_name} ({principal.key_id})"


async def only_known_parameters(request: HTTPConnection) -> None:
    """Raises Problem (422) for a query parameter that the route does not have, mistyped most likely, and for
    one that stands there twice."""
    if not request.scope["query_string"]:
        return
    route: Any = request.scope["route"]
    known = [name for parameter in route.dependant.query_params for name in _names(parameter)]
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise _unknown_parameter(name, known)
        if name in seen:
            raise invalid(name, "stands here twice; give it once")
        seen.add(name)


def _names(parameter: Any) -> list[str]:
    """A parameter of a route stands for itself, or for the fields of its model."""
    annotation = parameter.field_info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return [parameter.alias]


def _unknown_parameter(name: str, known: list[str]) -> Problem:
    return invalid(name[:64], f"unknown query parameter; there is {', '.join(known) or 'none'} here")


OnlyKnown: Final = Depends(only_known_parameters)
