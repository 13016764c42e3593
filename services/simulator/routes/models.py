"""GET /v1/models and GET /v1/models/{id}: the catalogue as the API shows it."""

from typing import Any

from fastapi import APIRouter

from services.simulator import errors
from services.simulator.models import CATALOGUE, Model, find_model
from services.simulator.state import ApiKey

router = APIRouter()


@router.get("/v1/models")
async def list_models(_: ApiKey) -> dict[str, Any]:
    """Every model under each of its names."""
    cards = [_card(model, name) for model in CATALOGUE for name in model.names]
    return {"object": "list", "data": cards}


@router.get("/v1/models/{model_id}")
async def get_model(model_id: str, _: ApiKey) -> dict[str, Any]:
    model = find_model(model_id)
    if model is None:
        raise errors.model_not_found(model_id)
    return _card(model, model_id)


def _card(model: Model, name: str) -> dict[str, Any]:
    """A model's card under one of its names, the others being its aliases."""
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "mistralai",
        "capabilities": {
            "completion_chat": model.chat,
            "function_calling": model.tools,
            "completion_fim": False,
            "fine_tuning": False,
            "vision": False,
            "classification": False,
        },
        "name": model.id,
        "description": model.description,
        "max_context_length": model.context,
        "aliases": [other for other in model.names if other != name],
        "deprecation": None,
        "default_model_temperature": model.default_temperature if model.chat else None,
        "type": "base",
    }
