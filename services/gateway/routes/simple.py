"""Runs in the shortest form: `POST /run`, `POST /replay`, `GET /runs`, `GET /runs/{run_id}`."""

import difflib
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import JSON, json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.reads import RunFilter
from services.gateway.replays.inputs import ChangesInput, ReplayInput, SimpleReplayInput
from services.gateway.replays.refusals import never_ran
from services.gateway.requests import ParametersInput, PromptInput
from services.gateway.routes.chat import ANSWER_S, REFUSALS, answer_of
from services.gateway.routes.creation import id_for
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown, RunIdPath, run_key
from services.gateway.routes.replays import OF_SOURCES, wish
from services.gateway.simple_views import SimpleRun, SimpleRunDetail, simple_detail, simple_run
from services.gateway.starter import Order
from services.gateway.step_pages import page_of
from services.gateway.views import View
from shared.step_codec import decode_steps
from shared.steps import RunStatus
from shared.subjects import RunKey

router: Final = APIRouter(tags=["simple"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id)
MOST_STEPS: Final = 1000


class SimpleAnswer(View):
    """`total_cost` is in USD, and null when a part of it has no known price."""

    run_id: str
    response: str
    total_tokens: int
    total_cost: float | None


@router.post(
    "/run",
    summary="Run a prompt and wait",
    response_model=SimpleAnswer,
    responses={
        **refuses("mistyped-field", *REFUSALS, body=True),
        **gives("simple-answer", description="The run completed.", headers=(REPLAYED_HEADER,)),
    },
    openapi_extra=takes(PromptInput, examples.PROMPT_INPUT),
)
async def run_prompt(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """As `POST /api/chat`, with what it took. Waits up to 2 s more for the last charge."""
    body = await read_model(request, PromptInput)
    parts = parts_of(request)
    order = Order(caller, request.url.path, body.run(), idempotency_key)
    view, is_replay = await parts.waiter.start_and_wait(order, ANSWER_S)
    request.scope["run_id"] = view.run_id
    response = await answer_of(parts, caller.project, view)
    cost = await parts.waiter.charged(RunKey(caller.project, view.run_id), view.model_calls)
    is_whole = cost.usd is not None and not cost.unpriced and (cost.charged or 0) >= view.model_calls
    answer = SimpleAnswer(
        run_id=view.run_id,
        response=response,
        total_tokens=view.total_tokens,
        total_cost=float(cost.usd) if is_whole and cost.usd is not None else None,
    )
    return json_answer(answer, headers=replay_headers(is_replay))


class SimpleReplay(View):
    """`diff`: the unified diff of the two answers, empty when they are the same; `diff_id` names the stored
    difference of the two runs."""

    diff_id: str
    run_id: str
    new_run_id: str
    original_response: str
    new_response: str
    diff: str


@router.post(
    "/replay",
    summary="Run it again and wait",
    response_model=SimpleReplay,
    responses={
        **refuses(
            *("read-only-key", "key-reused-elsewhere", *OF_SOURCES, "unknown-override", "run-failed"),
            *("replay-not-confirmed", "database-away", "replay-unfinished"),
            body=True,
        ),
        **gives("simple-replay", description="The new run completed.", headers=(REPLAYED_HEADER,)),
    },
    openapi_extra=takes(SimpleReplayInput, examples.SIMPLE_REPLAY_INPUT),
)
async def replay_run(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """A replay with one new run, at most 300 s; the run that is replayed need not have an answer."""
    asked = await read_model(request, SimpleReplayInput)
    parts, project = parts_of(request), caller.project
    replay_id, is_known = await id_for(request, caller, idempotency_key, asked)
    await parts.replays.place(wish(caller, _order(asked)), replay_id, is_known=is_known)
    ended = await parts.replays.ended(project, replay_id, ANSWER_S)
    old = (await parts.runs.find(run_key(caller, asked.run_id))).view
    if not ended.items:
        raise never_ran(ended.status, ended.error)
    new_run_id = ended.items[0].run_id
    new = (await parts.runs.find(run_key(caller, new_run_id))).view
    response = await answer_of(parts, project, new)
    original = await answer_of(parts, project, old) if old.status is RunStatus.COMPLETED else ""
    stored = await parts.replays.diff(project, replay_id)
    lines = difflib.unified_diff(
        original.splitlines(), response.splitlines(), "original", "replayed", lineterm=""
    )
    answer = SimpleReplay(
        diff_id=stored.diff_id,
        run_id=asked.run_id,
        new_run_id=new_run_id,
        original_response=original,
        new_response=response,
        diff="\n".join(lines),
    )
    return json_answer(answer, headers=replay_headers(is_known))


def _order(asked: SimpleReplayInput) -> ReplayInput:
    given = asked.override_params
    if given is None:
        return ReplayInput(run_id=asked.run_id)
    parameters = ParametersInput(**given.model_dump(include=set(ParametersInput.model_fields)))
    return ReplayInput(run_id=asked.run_id, changes=ChangesInput(model=given.model, parameters=parameters))


@router.get(
    "/runs",
    summary="The newest runs",
    response_model=list[SimpleRun],
    responses={**refuses("large-limit", "database-away"), **gives("simple-runs")},
)
async def list_simple_runs(
    request: Request,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=200, description="Most runs of the answer.", examples=[20])] = 50,
) -> Response:
    """Newest first. Filters and further pages: `GET /api/runs`."""
    views = await parts_of(request).runs.newest(caller.project, RunFilter(), None, limit)
    return Response(
        b"[" + b",".join(simple_run(view).model_dump_json().encode() for view in views) + b"]",
        media_type=JSON,
    )


@router.get(
    "/runs/{run_id}",
    summary="A run as conversation",
    response_model=SimpleRunDetail,
    responses={**refuses("no-such-run", "broker-away"), **gives("simple-run")},
)
async def get_simple_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """Its messages and tool calls, of the first 1,000 steps."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    page = page_of(await parts.runs.steps(found, -1, MOST_STEPS), MOST_STEPS)
    texts = await parts.bodies.inflated(found.run, page.texts)
    return json_answer(simple_detail(found.view, decode_steps(b"[" + b",".join(texts) + b"]")))
