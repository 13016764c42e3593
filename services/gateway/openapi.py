"""The API's description: what the routes do not say by themselves.

Bodies are read by the routes (`limits.py`), problems are answered by the exception handlers, so both are
described here and put into the document that FastAPI makes of the rest.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.gateway import problems
from services.gateway.problems import MEDIA_TYPE, Kind, ProblemDocument
from services.gateway.requests import CancelInput, ChatInput, PromptInput, RunInput
from services.gateway.views import Accepted

VERSION: Final = "1"
MODE: Final[Literal["validation"]] = "validation"
REF: Final = "#/components/schemas/{model}"
INPUTS: Final[tuple[type[BaseModel], ...]] = (RunInput, ChatInput, PromptInput, CancelInput)
TAGS: Final = [
    {"name": "runs", "description": "Start runs, follow them step by step, look at them, end them."},
    {"name": "chat", "description": "One message in, one answer out; each is a run."},
    {
        "name": "catalog",
        "description": "What a run may name: tools and models, as the runners announce them.",
    },
    {"name": "access", "description": "Short-lived access for web pages."},
    {"name": "simple", "description": "The same runs in the shortest form."},
]
DESCRIPTION: Final = """
Runs Mistral agents durably and keeps the truth about them. Every request carries an API key, as
`Authorization: Bearer <key>` or `X-API-Key: <key>`; every error is a problem document (RFC 9457). A run
belongs to the project of its key, and to every other project it does not exist.
"""
SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, aos_<id>_<secret>."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
EVERYWHERE: Final = (problems.UNAUTHORIZED, problems.FORBIDDEN, problems.INVALID, problems.UNAVAILABLE)
OF_BODIES: Final = (problems.REQUEST_TIMEOUT, problems.TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE)
HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"WWW-Authenticate": "How to send a key."},
    503: {"Retry-After": "Seconds until a new try makes sense."},
}

Responses = dict[int | str, dict[str, Any]]


def answers(*kinds: Kind, body: bool = False) -> Responses:
    """The problem responses of a route: those that every route has and `kinds`."""
    by_status: dict[int, list[Kind]] = {}
    for kind in (*EVERYWHERE, *(OF_BODIES if body else ()), *kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _problem(kinds) for status, kinds in sorted(by_status.items())}


def gives(example: Any, *, status: int = 200, description: str = "As asked.") -> Responses:
    """The answer of a route when all is well; its model is the route's `response_model`."""
    return {status: {"description": description, "content": {"application/json": {"example": example}}}}


def takes(model: type[BaseModel], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads this model from its body."""
    schema = {"$ref": REF.format(model=model.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def install(app: FastAPI) -> None:
    """Make the document complete; it is built once, when first asked for."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_build(app))
        return document

    replace: Callable[[], dict[str, Any]] = openapi
    app.openapi = replace  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS
    )
    components = document.setdefault("components", {})
    models: tuple[type[BaseModel], ...] = (*INPUTS, Accepted, ProblemDocument)
    _, definitions = models_json_schema([(model, MODE) for model in models], ref_template=REF)
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = SECURITY
    document["security"] = [{name: []} for name in SECURITY]
    return document


def _problem(kinds: list[Kind]) -> dict[str, Any]:
    kind = kinds[0]
    example = {"type": kind.uri, "title": kind.title, "status": kind.status, "detail": "…"}
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in HEADERS.get(kind.status, {}).items()
    }
    schema = {"$ref": REF.format(model=ProblemDocument.__name__)}
    return {
        "description": " or ".join(kind.title for kind in kinds),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }
