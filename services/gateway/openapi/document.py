"""The OpenAPI document: what FastAPI makes of the routes, completed with models, examples and the rules."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.gateway.agents.definition import AgentDefinition, AgentInput
from services.gateway.examples import ANSWERS
from services.gateway.openapi.describe import SCHEMA_REF
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.problems import ProblemDocument
from services.gateway.replays.inputs import ReplayInput, SimpleReplayInput
from services.gateway.requests import (
    CancelInput,
    ChatInput,
    NoteInput,
    PromptInput,
    RunInput,
    ScheduleChange,
    ScheduleInput,
)
from services.gateway.tools.models import HttpToolInput, McpServerChange, McpServerInput, ToolChange
from services.gateway.waiting.inputs import ApprovalInput, OutcomeInput, ResumeInput, WhyInput
from services.gateway.webhooks.models import WebhookChange, WebhookInput

MODE: Final[Literal["validation"]] = "validation"
MODELS: Final[tuple[type[BaseModel], ...]] = (
    *(RunInput, ChatInput, PromptInput, CancelInput, NoteInput),
    *(ApprovalInput, OutcomeInput, ResumeInput, WhyInput),
    *(AgentInput, AgentDefinition),
    *(HttpToolInput, ToolChange, McpServerInput, McpServerChange),
    *(WebhookInput, WebhookChange, ScheduleInput, ScheduleChange),
    *(ReplayInput, SimpleReplayInput),
    ProblemDocument,
)
TAGS: Final = [
    {"name": "runs", "description": "Start runs, follow them step by step, look at them, end them."},
    {
        "name": "steering",
        "description": "What waits for a person, and what a person says to it; retries; trees of runs.",
    },
    {
        "name": "replays",
        "description": "Runs once more: verified, with anything changed, forked at a step; and a verdict.",
    },
    {"name": "bundles", "description": "Runs as signed files, which replay anywhere and prove themselves."},
    {
        "name": "chat",
        "description": "One message in, one answer out; each is a run. Over a WebSocket, `/api/ws/chat`, "
        'messages and steps go back and forth: send `{"message": …}` as text.',
    },
    {
        "name": "catalog",
        "description": "The models that a run may name, as the runners announce them.",
    },
    {
        "name": "tools",
        "description": "What agents can do: tools of the runners, of MCP servers, and HTTP requests.",
    },
    {
        "name": "agents",
        "description": "What a run may be told to be, in numbered versions that never change.",
    },
    {"name": "batches", "description": "Many runs in one request, and how far they are."},
    {"name": "sessions", "description": "The runs of one session_id, and what agents remember there."},
    {"name": "groups", "description": "The runs of one label: what they add up to, and stopping them all."},
    {
        "name": "webhooks",
        "description": "Whom to tell when a run ends or waits: signed, repeated until heard, with a log.",
    },
    {"name": "schedules", "description": "Runs that start by the clock, by cron line and time zone."},
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


def install(app: FastAPI) -> None:
    """The document is built once, when first asked for."""
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
    _, definitions = models_json_schema([(model, MODE) for model in MODELS], ref_template=SCHEMA_REF)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["examples"] = _examples()
    components["securitySchemes"] = SECURITY
    for parameter in _parameters(document):
        _without_null(parameter["schema"])
    document["security"] = [{name: []} for name in SECURITY]
    return document


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for operation in path.values():
            yield from operation.get("parameters", ())


def _without_null(schema: dict[str, Any]) -> None:
    """A parameter is sent or not; null, which stands for the latter in Python, nobody can send."""
    variants = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(variants) == 1:
        del schema["anyOf"]
        schema.update(variants[0])


def _examples() -> dict[str, Any]:
    """Put in at the end, for FastAPI drops every null, also those that an example needs."""
    answers = {name: {"summary": each.summary, "value": each.value} for name, each in ANSWERS.items()}
    problems = {
        name: {
            "summary": problem.kind.title,
            "value": problem.document.model_dump(mode="json", exclude_defaults=True),
        }
        for name, problem in PROBLEMS.items()
    }
    return {**answers, **problems}
