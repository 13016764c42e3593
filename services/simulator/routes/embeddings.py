"""POST /v1/embeddings."""

import json
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from services.simulator import errors
from services.simulator.asgi import pause, read_body
from services.simulator.embeddings import embed
from services.simulator.faults.fault import Kind
from services.simulator.metrics import FAULTS, TOKENS
from services.simulator.models import Model, find_model
from services.simulator.schemas import EmbeddingRequest
from services.simulator.state import ApiKey, CurrentState, State
from services.simulator.tokens import count_tokens

router = APIRouter()
MAX_INPUTS = 512
MAX_TOKENS = 16_384


@router.post("/v1/embeddings")
async def create_embeddings(request: Request, state: CurrentState, _: ApiKey) -> Response:
    """Unit vectors for the texts, as the Mistral API answers them."""
    asked, model = _read(await read_body(request, state.settings.simulator_max_body_bytes))
    texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
    tokens = _weigh(texts, model)
    await _let_happen(state, model, request)
    await pause(request, model.first_token_ms / 1000 * state.latency.scale)
    TOKENS.labels(model.id, "prompt").inc(tokens)
    vectors = [
        {"object": "embedding", "embedding": embed(text), "index": index} for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    body = {"id": uuid4().hex, "object": "list", "data": vectors, "model": asked.model, "usage": usage}
    return Response(json.dumps(body), media_type="application/json")


def _read(body: bytes) -> tuple[EmbeddingRequest, Model]:
    try:
        asked = EmbeddingRequest.model_validate_json(body)
    except ValidationError as error:
        raise errors.from_validation(error) from error
    model = find_model(asked.model)
    if model is None or model.chat:
        raise errors.invalid_model(asked.model)
    for name, plain in (("output_dimension", None), ("output_dtype", "float"), ("encoding_format", "float")):
        if getattr(asked, name) not in (None, plain):
            raise errors.invalid_arguments(f"{name} is not supported by {asked.model}")
    return asked, model


def _weigh(texts: list[str], model: Model) -> int:
    counts = [count_tokens(text) for text in texts]
    if len(counts) > MAX_INPUTS:
        raise errors.too_many_inputs("inputs in request")
    if any(count > model.context for count in counts):
        raise errors.context_too_long(max(counts), model.context)
    if sum(counts) > MAX_TOKENS:
        raise errors.too_many_inputs("tokens overall")
    return sum(counts)


async def _let_happen(state: State, model: Model, request: Request) -> None:
    """Standing faults that fit an embedding: a status or a hang."""
    fault = state.ledger.standing_due(model.names, 1).answer
    if fault is None:
        return
    FAULTS.labels(fault.name).inc()
    if fault.status is not None:
        raise errors.injected(fault.status, fault.seconds)
    if fault.kind is Kind.HANG:
        await pause(request, fault.seconds or 0.0)
