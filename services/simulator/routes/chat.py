"""POST /v1/chat/completions: check, let faults happen, answer whole or streamed."""

import hashlib
from time import monotonic

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError

from services.simulator import errors
from services.simulator.asgi import pause, read_body
from services.simulator.completions import Asked, Completion, complete
from services.simulator.conversation import Conversation, read_conversation
from services.simulator.faults.fault import BadDirective, Fault, Kind, read_directives, without_directives
from services.simulator.faults.ledger import Due
from services.simulator.metrics import FAULTS, TOKENS
from services.simulator.models import find_model
from services.simulator.pace import Pace, pace_of
from services.simulator.schemas import ChatRequest
from services.simulator.state import ApiKey, CurrentState, State
from services.simulator.streaming import CutResponse, completion_body, half, half_of, paced
from services.simulator.usage import weigh

router = APIRouter()
EVENTS = "text/event-stream; charset=utf-8"


@router.post("/v1/chat/completions")
async def complete_chat(request: Request, state: CurrentState, key: ApiKey) -> Response:
    """A chat completion, as the Mistral API answers it."""
    asked = read_asked(await read_body(request, state.settings.simulator_max_body_bytes))
    due = _due(state, asked, key)
    await _let_happen(due, asked, request)
    completion = complete(asked, _inside(due))
    _count_tokens(asked, completion)
    trickle = due.slow.seconds if due.slow is not None else None
    pace = pace_of(asked.model, state.latency.scale, completion.tokens, trickle)
    cut = due.answer is not None and due.answer.kind is Kind.CUT_STREAM
    if asked.request.stream:
        return _streamed(completion, pace, cut)
    await pause(request, pace.first + pace.per_token * completion.tokens)
    return _whole(completion, cut)


def read_asked(body: bytes) -> Asked:
    """The request in order, or the error the API has for it."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise errors.from_validation(error) from error
    model = find_model(request.model)
    if model is None or not model.chat:
        raise errors.invalid_model(request.model)
    conversation = read_conversation(request.messages)
    prompt = weigh(conversation, request.tools or ())
    if prompt.tokens > model.context:
        raise errors.context_too_long(prompt.tokens, model.context)
    return Asked(request, conversation, without_directives(conversation.question), model, prompt)


def _due(state: State, asked: Asked, key: str) -> Due:
    """Which faults hit this request: those that stand, else those its prompt asks for."""
    call = asked.conversation.rounds + 1
    standing = state.ledger.standing_due(asked.model.names, call)
    directives = _directives(asked.conversation)
    own = state.ledger.due(directives, _key(asked, key), call, monotonic()) if directives else Due()
    due = Due(standing.answer or own.answer, standing.slow or own.slow, standing.tools or own.tools)
    for fault in (due.answer, due.slow, due.tools):
        if fault is not None:
            FAULTS.labels(fault.name).inc()
    return due


def _directives(conversation: Conversation) -> tuple[Fault, ...]:
    try:
        return read_directives(conversation.question)
    except BadDirective as error:
        place = ("body", "messages", conversation.last_user, "content")
        problem = errors.detail(place, str(error), "bad_directive", conversation.question)
        raise errors.unprocessable([problem]) from error


def _key(asked: Asked, key: str) -> bytes:
    """Which run a request belongs to, as far as it shows: who asks, what was said up to the question."""
    request = asked.request
    parts = [key, request.model, repr(request.metadata), repr(request.random_seed), request.prompt_cache_key]
    parts += [f"{m.role}:{m.weight}" for m in asked.conversation.messages[: asked.conversation.last_user + 1]]
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


async def _let_happen(due: Due, asked: Asked, request: Request) -> None:
    """The faults that strike before there is an answer."""
    fault = due.answer
    if fault is None:
        return
    if fault.status is not None:
        raise errors.injected(fault.status, fault.seconds)
    if fault.kind is Kind.CONTEXT_TOO_LONG:
        raise errors.context_too_long(asked.model.context + asked.prompt.tokens, asked.model.context)
    if fault.kind is Kind.HANG:
        await pause(request, fault.seconds or 0.0)


def _inside(due: Due) -> Kind | None:
    """The fault that shows in the answer itself."""
    if due.answer is not None and due.answer.kind is Kind.EMPTY:
        return Kind.EMPTY
    return due.tools.kind if due.tools is not None else None


def _count_tokens(asked: Asked, completion: Completion) -> None:
    model = asked.model.id
    TOKENS.labels(model, "prompt").inc(asked.prompt.tokens)
    TOKENS.labels(model, "cached").inc(asked.prompt.cached)
    TOKENS.labels(model, "completion").inc(completion.tokens)


def _streamed(completion: Completion, pace: Pace, cut: bool) -> Response:
    if cut:
        return CutResponse(half(completion, pace), EVENTS)
    return StreamingResponse(paced(completion, pace), media_type=EVENTS)


def _whole(completion: Completion, cut: bool) -> Response:
    body = completion_body(completion)
    if cut:
        return CutResponse(half_of(body), "application/json", len(body))
    return Response(body, media_type="application/json")
