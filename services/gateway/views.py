"""What the API answers about runs: the models on the wire and their making from a run's fold."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.preview import Shown
from shared.run_state import RunState
from shared.steps import Edit, Failure, KnownStep, RunStatus, UnknownStep, Usage
from shared.usd import Usd

AnyStep = Annotated[KnownStep, Field(discriminator="kind")] | UnknownStep


class View(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Accepted(View):
    """A run that the broker has on disk."""

    run_id: str
    status: RunStatus


class Cost(View):
    """What the run cost so far: the sum of the priced charges, the number of those without a price, and
    the number of model calls that are charged. None where it is not known."""

    usd: Decimal | None = None
    unpriced: int | None = None
    charged: int | None = None


class RunReplay(View):
    """Of which run a run is the replay, and how. Whatever else is changed stands in its step 0."""

    mode: Literal["verify", "rerun", "fork"]
    replay_id: str | None = Field(description="The replay that it is a part of.")
    source_run_id: str
    fork_step: int | None = Field(description="Of a fork: up to and with this step it is as its source.")
    edits: tuple[Edit, ...] = Field(description="What a fork has otherwise in the steps that it took over.")
    arm: str
    sample: int


class RunView(View):
    """A run without its steps."""

    run_id: str
    status: RunStatus
    agent: str | None
    agent_version: int | None
    model: str | None
    prompt: str | None = Field(description="Whole, or its first 4,096 characters when prompt_body is set.")
    prompt_body: str | None = Field(default=None, description="SHA-256 of the body that is the whole prompt.")
    response: str | None = Field(description="The final answer; as for the prompt, a long one is cut.")
    response_body: str | None = None
    session_id: str | None
    user_id: str | None
    group: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int = Field(description="How often a runner claimed the run.")
    step_count: int
    rounds: int
    model_calls: int
    tool_calls: int
    usage: Usage
    total_tokens: int
    total_cost_usd: Usd | None = Field(
        default=None, description="Sum of the priced charges; null while none is known."
    )
    unpriced: int | None = Field(
        default=None, description="Charges without a known price; null while charges are not known."
    )
    charged: int | None = Field(
        default=None, description="Model calls charged so far: charges follow the steps. Null as above."
    )
    error: Failure | None
    waiting_reason: str | None = Field(
        default=None, description="Of a waiting run: approval, unknown-outcome, child-run or budget."
    )
    waiting_until: datetime | None = Field(default=None, description="When it is given up; null: never.")
    parent_run_id: str | None = Field(default=None, description="The run that asked for this one.")
    root_run_id: str | None = Field(default=None, description="The top of the tree of runs.")
    replay: RunReplay | None = Field(
        default=None, description="Of the replay of another run: which, and how."
    )


class RunDetail(RunView):
    """A run with its first steps."""

    steps: tuple[AnyStep, ...]
    next_after: int | None = Field(
        description="When set, there are more steps: GET /api/runs/{run_id}/steps?after=…"
    )


class RunList(View):
    items: tuple[RunView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class StepList(View):
    """Steps of a run in order. A value over the limit stands as {"$body": sha256, "bytes": size}."""

    items: tuple[AnyStep, ...]
    next_after: int | None = Field(description="When set, there are more steps: give it as ?after=.")


def why_not_completed(view: RunView) -> str:
    """In words, for a run that has ended otherwise."""
    if view.error is not None:
        return f"the run {view.status}: {view.error.type}: {view.error.message}"
    return f"the run was {view.status}" if view.status is RunStatus.CANCELLED else f"the run {view.status}"


def view_of(state: RunState, prompt: Shown, response: Shown, cost: Cost) -> RunView:
    """The view of a folded run, whose step 0 must be in it."""
    request = state.request
    if request is None:
        raise ValueError("the fold has no step 0")
    is_replay = request.replay is not None and request.parent_run_id is None  # else the asking run is
    return RunView(
        run_id=request.run_id,
        status=state.status,
        agent=request.agent.name,
        agent_version=request.agent.version,
        model=request.model,
        prompt=prompt.text,
        prompt_body=prompt.body,
        response=response.text,
        response_body=response.body,
        session_id=request.session_id,
        user_id=request.user_id,
        group=request.group,
        metadata=request.metadata,
        created_at=request.at,
        started_at=state.started_at,
        finished_at=state.finished_at,
        attempt=state.attempt,
        step_count=state.next_seq,
        rounds=state.rounds,
        model_calls=state.model_calls,
        tool_calls=state.tool_calls,
        usage=state.usage,
        total_tokens=state.usage.total,
        total_cost_usd=cost.usd,
        unpriced=cost.unpriced,
        charged=cost.charged,
        error=state.finished.error if state.finished else None,
        waiting_reason=state.waiting.reason if state.waiting else None,
        waiting_until=state.waiting.until if state.waiting else None,
        parent_run_id=request.parent_run_id,
        root_run_id=request.root_run_id,
        replay=RunReplay.model_validate(request.replay, from_attributes=True) if is_replay else None,
    )
