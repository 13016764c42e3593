"""What a run may name: tools and models."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import OnlyKnown, json_answer
from services.gateway.auth import Caller
from services.gateway.openapi import answers, gives
from services.gateway.parts import parts_of
from services.gateway.views import View
from shared.catalog import Tool

router: Final = APIRouter(tags=["catalog"], dependencies=[OnlyKnown])


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
    responses={**answers(), **gives(examples.TOOL_LIST)},
)
async def list_tools(request: Request, caller: Caller) -> Response:
    """The tools that the runners announce; 503 while no runner has."""
    return json_answer(ToolList(items=await parts_of(request).catalog.tools()))


@router.get(
    "/api/models",
    summary="List models",
    response_model=ModelList,
    responses={**answers(), **gives(examples.MODEL_LIST)},
)
async def list_models(request: Request, caller: Caller) -> Response:
    """The models of the provider that the runners call, and the one that a run gets when it names none."""
    parts = parts_of(request)
    known = await parts.catalog.models()
    default = parts.settings.mistral_model
    if known is None:
        return json_answer(ModelList(provider=None, default=default, items=()))
    return json_answer(ModelList(provider=known.provider, default=default, items=known.models))
