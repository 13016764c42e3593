"""Small helpers of the routes: JSON answers from models, ids from paths, parameters that exist."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Query
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.gateway.examples import RUN_ID
from services.gateway.idempotency import HEADER
from services.gateway.key_ring import Principal
from services.gateway.problems import Problem, invalid, no_such_run
from shared.run_log import RunKey
from shared.steps import RunId

JSON: Final = "application/json"
_run_id: TypeAdapter[str] = TypeAdapter(RunId)


def json_answer(model: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """The model's JSON, written by its own serializer."""
    return Response(model.__pydantic_serializer__.to_json(model), status, headers=headers, media_type=JSON)


def run_key(principal: Principal, run_id: str) -> RunKey:
    """The caller's run of that id. Raises Problem (404) for what can be no run's id."""
    try:
        return RunKey(principal.project, _run_id.validate_python(run_id))
    except ValidationError:
        raise no_such_run(run_id) from None


async def only_known_parameters(request: HTTPConnection) -> None:
    """Raises Problem (422) for a query parameter that the route does not have: mistyped, most likely."""
    if not request.scope["query_string"]:
        return
    route: Any = request.scope["route"]
    known = [name for parameter in route.dependant.query_params for name in _names(parameter)]
    for name in request.query_params:
        if name not in known:
            raise _unknown_parameter(name, known)


def _names(parameter: Any) -> list[str]:
    """A parameter of a route stands for itself, or for the fields of its model."""
    annotation = parameter.field_info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return [parameter.alias]


def _unknown_parameter(name: str, known: list[str]) -> Problem:
    return invalid(name[:64], f"unknown query parameter; there is {', '.join(known) or 'none'} here")


OnlyKnown: Final = Depends(only_known_parameters)
RunIdPath = Annotated[
    str, Path(description="The id of a run, as POST /api/runs answers it.", examples=[RUN_ID])
]
Wait = Annotated[
    float | None, Query(gt=0, le=300, description="Seconds to wait for the end of the run; default: none.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="Repeat a request with the same key, and there is one run: the same body "
        "answers with the first run, another body is refused. "
        "1 to 255 printable ASCII characters; kept for 7 days.",
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
    ),
]
