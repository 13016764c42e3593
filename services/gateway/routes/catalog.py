"""What a run may name: tools and models."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.answers import json_answer
from services.gateway.auth import Caller
from services.gateway.openapi.describe import gives, operation_id, refuses
from services.gateway.parts import parts_of
from services.gateway.routes.parameters import OnlyKnown
from services.gateway.views import View
from shared.catalog import Tool

router: Final = APIRouter(
    tags=["catalog"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)


class ToolList(View):
    items: tuple[Tool, ...]


class ModelList(View):
    """`provider` is null, and the list empty, while no runner knows its provider's models."""

    provider: str | None
    default: str
    items: tuple[str, ...]


@router.get(
    "/api/tools",
    summary="List tools",
    response_model=ToolList,
    responses={**refuses("no-runner"), **gives("tools")},
)
async def list_tools(request: Request, caller: Caller) -> Response:
    """The tools that the runners announce; 503 while no runner has."""
    return json_answer(ToolList(items=await parts_of(request).catalog.tools()))


@router.get(
    "/api/models",
    summary="List models",
    response_model=ModelList,
    responses={**refuses("broker-away"), **gives("models")},
)
async def list_models(request: Request, caller: Caller) -> Response:
    """The models of the provider that the runners call, and the one that a run gets when it names none."""
    parts = parts_of(request)
    known = await parts.catalog.models()
    default = parts.settings.mistral_model
    if known is None:
        return json_answer(ModelList(provider=None, default=default, items=()))
    return json_answer(ModelList(provider=known.provider, default=default, items=known.models))
