"""The models that a run may name."""

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

router: Final = APIRouter(
    tags=["catalog"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)


class ModelList(View):
    """`provider` is null, and the list empty, while no runner knows its provider's models."""

    provider: str | None
    default: str
    items: tuple[str, ...]


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
