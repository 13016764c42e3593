"""What waits for a person, and what a person says to it: decide about calls, retry, resume; trees of runs."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import reads as gateway_reads
from services.gateway.answers import json_answer
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.examples import APPROVAL_INPUT, OUTCOME_INPUT, RESUME_INPUT, WHY_INPUT
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.problems import no_such_run
from services.gateway.routes.parameters import Cursor, Limit, OnlyKnown, RunIdPath, run_key, who
from services.gateway.views import Accepted
from services.gateway.waiting import reads
from services.gateway.waiting.inputs import ApprovalInput, OutcomeInput, ResumeInput, WhyInput
from services.gateway.waiting.views import Tree, WaitingList
from shared.steps import RunStatus
from shared.subjects import RunKey

router: Final = APIRouter(
    prefix="/api",
    tags=["steering"],
    dependencies=[OnlyKnown],
    generate_unique_id_function=operation_id,
)
OF_APPROVALS: Final = ("no-such-call", "call-decided", "other-arguments", "bad-arguments")
CallId = Annotated[
    str, Path(max_length=64, description="The call, as the waiting run shows it.", examples=["D681PevKs"])
]


@router.get(
    "/waiting",
    summary="What waits for a person",
    response_model=WaitingList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("waiting-list")},
)
async def list_waiting(
    request: Request, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Runs that wait for an approval, for word about a call whose outcome is unknown, or for a higher budget;
    newest first."""
    before = decode_cursor(cursor) if cursor is not None else None
    runs = await gateway_reads.answered(
        parts_of(request).database,
        lambda connection: reads.waiting_runs(connection, caller.project, before, limit + 1),
    )
    items, more = tuple(runs[:limit]), len(runs) > limit
    return json_answer(
        WaitingList(items=items, next_cursor=encode_cursor(items[-1].run_id) if more else None)
    )


@router.post(
    "/runs/{run_id}/approvals/{call_id}",
    status_code=202,
    summary="Decide about a call",
    response_model=Accepted,
    responses={
        **refuses("no-such-run", *OF_APPROVALS, body=True),
        **gives("decided", status=202, description="The decision is in the run's log; the run goes on."),
    },
    openapi_extra=takes(ApprovalInput, APPROVAL_INPUT),
)
async def decide_about_call(request: Request, caller: Caller, run_id: RunIdPath, call_id: CallId) -> Response:
    """Approve, approve with other arguments, or deny. The decision is bound to the arguments by their hash,
    and given once: a second one is refused."""
    said = await read_model(request, ApprovalInput)
    key = run_key(caller, run_id)
    status = await parts_of(request).steering.approve(key, call_id, said, who(caller))
    return _accepted(key, status)


@router.post(
    "/runs/{run_id}/outcomes/{call_id}",
    status_code=202,
    summary="Say what became of a call",
    response_model=Accepted,
    responses={
        **refuses("no-such-run", "no-outcome-wanted", "call-decided", body=True),
        **gives("decided", status=202, description="It is in the run's log; the run goes on."),
    },
    openapi_extra=takes(OutcomeInput, OUTCOME_INPUT),
)
async def settle_call(request: Request, caller: Caller, run_id: RunIdPath, call_id: CallId) -> Response:
    """For a run that waits because its runner died in the middle of an irreversible call."""
    said = await read_model(request, OutcomeInput)
    key = run_key(caller, run_id)
    status = await parts_of(request).steering.settle(key, call_id, said, who(caller))
    return _accepted(key, status)


@router.post(
    "/runs/{run_id}/retry",
    status_code=202,
    summary="Retry a run",
    response_model=Accepted,
    responses={
        **refuses("no-such-run", "retry-active", "retry-completed", "retry-child", body=True),
        **gives("retried", status=202, description="The run is in the queue again."),
    },
    openapi_extra=takes(WhyInput, WHY_INPUT, required=False),
)
async def retry_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """A run that failed or was cancelled goes on from its last good step, with new rounds and a new time
    limit. What was spent stays spent."""
    why = (await read_model(request, WhyInput, optional=True)).why
    key = run_key(caller, run_id)
    await parts_of(request).steering.retry(key, who(caller), why)
    return _accepted(key, RunStatus.QUEUED)


@router.post(
    "/runs/{run_id}/resume",
    status_code=202,
    summary="Resume a run",
    response_model=Accepted,
    responses={
        **refuses("no-such-run", "run-not-waiting", "budget-not-higher", body=True),
        **gives("decided", status=202, description="A runner looks at the run again."),
    },
    openapi_extra=takes(ResumeInput, RESUME_INPUT, required=False),
)
async def resume_run(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """A waiting run is looked at again, with a higher budget if one is given; what has not come it waits for
    as before."""
    budget_usd = (await read_model(request, ResumeInput, optional=True)).budget_usd
    key = run_key(caller, run_id)
    status = await parts_of(request).steering.resume(key, budget_usd, who(caller))
    return _accepted(key, status)


@router.get(
    "/runs/{run_id}/tree",
    summary="A run and the runs it asked for",
    response_model=Tree,
    responses={**refuses("no-such-run", "database-away"), **gives("tree")},
)
async def get_tree(request: Request, caller: Caller, run_id: RunIdPath) -> Response:
    """The whole tree to which the run belongs, from its root, with what all its runs add up to."""
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    root = RunKey(caller.project, found.view.root_run_id or run_id)
    tree = await gateway_reads.answered(parts.database, lambda connection: reads.tree(connection, root))
    if tree is None:
        raise no_such_run(root.run_id)
    return json_answer(tree)


def _accepted(key: RunKey, status: RunStatus) -> Response:
    return json_answer(Accepted(run_id=key.run_id, status=status), 202)
