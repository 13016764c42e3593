"""Chat in one request: a message in, the answer out."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import Parts, parts_of
from services.gateway.problems import RUN_FAILED, RUN_UNFINISHED, Problem
from services.gateway.requests import ChatInput
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown
from services.gateway.starter import Order
from services.gateway.views import RunView, View, why_not_completed
from shared.steps import RunStatus
from shared.subjects import RunKey

router: Final = APIRouter(tags=["chat"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id)
ANSWER_S: Final = 300.0
# What can go wrong when a run is started and its answer is waited for.
REFUSALS: Final = (
    "read-only-key",
    "key-reused",
    "bad-idempotency-key",
    "run-failed",
    "too-many-runs",
    "not-confirmed",
    "no-runner",
    "run-unfinished",
)


class ChatAnswer(View):
    response: str
    run_id: str


@router.post(
    "/api/chat",
    summary="Ask and wait for the answer",
    response_model=ChatAnswer,
    responses={
        **refuses("blank-message", *REFUSALS, body=True),
        **gives("chat-answer", description="The run completed.", headers=(REPLAYED_HEADER,)),
    },
    openapi_extra=takes(ChatInput, examples.CHAT_INPUT),
)
async def chat(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """Starts a run of the assistant and waits for its end, at most 300 s. Each message stands for itself;
    a `session_id` lets runs share a workspace."""
    body = await read_model(request, ChatInput)
    parts = parts_of(request)
    order = Order(caller, request.url.path, body.run(), idempotency_key)
    view, is_replay = await parts.waiter.start_and_wait(order, ANSWER_S)
    request.scope["run_id"] = view.run_id
    answer = ChatAnswer(response=await answer_of(parts, caller.project, view), run_id=view.run_id)
    return json_answer(answer, headers=replay_headers(is_replay))


async def answer_of(parts: Parts, project: str, view: RunView) -> str:
    """The whole answer of a run. Raises Problem when the run did not complete: 502, or 504 if it goes on."""
    if not view.status.is_final:
        raise Problem(
            RUN_UNFINISHED,
            f"the run is still {view.status}; it goes on, ask for it by its id",
            run_id=view.run_id,
        )
    if view.status is not RunStatus.COMPLETED:
        raise Problem(RUN_FAILED, why_not_completed(view), run_id=view.run_id)
    if view.response_body is not None:
        return await parts.bodies.json_text(RunKey(project, view.run_id), view.response_body)
    return view.response or ""
