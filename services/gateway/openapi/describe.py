"""The words in which a route adds to the API's description: what it takes, gives and refuses.

Bodies are read by the routes (`limits.py`) and problems are answered by the exception handlers, so FastAPI
knows of neither. Examples are named here and stand in the components of the document (`document.py`).
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.gateway.examples import ANSWERS, Example
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.problems import MEDIA_TYPE, Problem, ProblemDocument

JSON: Final = "application/json"
SCHEMA_REF: Final = "#/components/schemas/{model}"
EXAMPLE_REF: Final = "#/components/examples/{name}"
EVERYWHERE: Final = ("no-key", "key-not-checked")
UNLESS_NAMED: Final = ("write-only-key", "unknown-parameter")
OF_BODIES: Final = ("slow-body", "large-body", "form-body")
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Location": {
        "description": "Where it is.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": f"/api/runs/{ANSWERS['accepted'].value['run_id']}",
    },
    "ETag": {
        "description": "The number of the version, for If-Match.",
        "schema": {"type": "string", "pattern": '^"[1-9][0-9]*"$'},
        "example": '"1"',
    },
    REPLAYED_HEADER: {
        "description": "There only when the run is that of an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "Retry-After": {
        "description": "Seconds until a new try makes sense.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="agentops-studio"',
    },
}

Responses = dict[int | str, dict[str, Any]]


def operation_id(route: APIRoute) -> str:
    """Short names, for generated clients call their functions by them."""
    return route.name


def takes(
    model: type[BaseModel], examples: Mapping[str, Example], *, required: bool = True
) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads this model from its body."""
    shown = {name: {"summary": each.summary, "value": each.value} for name, each in examples.items()}
    content = {JSON: {"schema": {"$ref": SCHEMA_REF.format(model=model.__name__)}, "examples": shown}}
    return {"requestBody": {"required": required, "content": content}}


def gives(
    *names: str,
    status: int = 200,
    description: str = "As asked.",
    headers: tuple[str, ...] = (),
    **more: Any,
) -> Responses:
    """The answer of a route when all is well, by its examples, with `more` as FastAPI takes it: `model`,
    unless that is the `response_model`."""
    content = {JSON: {"examples": references(*names)}}
    declared = {name: HEADERS[name] for name in headers}
    return {status: {"description": description, "headers": declared, "content": content, **more}}


def refuses(*names: str, body: bool = False) -> Responses:
    """The problems of a route: these, those that every route has, and with a `body` those of bodies.

    Every route has a 403 and a 422 too; those of a route that reads and has no parameters need no name.
    """
    by_status: dict[int, dict[str, Problem]] = {}
    for name in (*EVERYWHERE, *(OF_BODIES if body else ()), *names):
        by_status.setdefault(PROBLEMS[name].kind.status, {})[name] = PROBLEMS[name]
    for name in UNLESS_NAMED:
        by_status.setdefault(PROBLEMS[name].kind.status, {name: PROBLEMS[name]})
    return {status: _refusal(problems) for status, problems in sorted(by_status.items())}


def references(*names: str) -> dict[str, dict[str, str]]:
    """The `examples` of a content: examples of the document's components, by their names."""
    return {name: {"$ref": EXAMPLE_REF.format(name=name)} for name in names}


def _refusal(problems: Mapping[str, Problem]) -> dict[str, Any]:
    titles = dict.fromkeys(problem.kind.title for problem in problems.values())
    headers = [name for problem in problems.values() for name in problem.headers]
    schema = {"$ref": SCHEMA_REF.format(model=ProblemDocument.__name__)}
    return {
        "description": " or ".join(titles),
        "headers": {name: HEADERS[name] for name in headers},
        "content": {MEDIA_TYPE: {"schema": schema, "examples": references(*problems)}},
    }
