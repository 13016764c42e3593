"""The routes' answers: JSON written by the models themselves, and the headers of a run that was started."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel
from starlette.responses import Response

from services.gateway.idempotency import REPLAYED_HEADER

JSON: Final = "application/json"


def json_answer(model: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """The model's JSON, written by its own serializer."""
    return Response(model.__pydantic_serializer__.to_json(model), status, headers=headers, media_type=JSON)


def replay_headers(is_replay: bool) -> dict[str, str]:
    """Whether the run is that of an earlier request with the same idempotency key."""
    return {REPLAYED_HEADER: "true"} if is_replay else {}
