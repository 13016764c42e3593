"""What the server answers, as types. Steps are those of `shared.steps`: there is no second vocabulary.

Fields that a newer server adds are ignored, and steps of a kind that it adds are kept.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Generic, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.steps import (
    Effect,
    Failure,
    KnownStep,
    Parameters,
    ReplayPlan,
    RunStatus,
    ToolResult,
    UnknownStep,
    Usage,
)
from studio.client.errors import Problem

Item = TypeVar("Item")
AnyStep: TypeAlias = Annotated[KnownStep, Field(discriminator="kind")] | UnknownStep


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Accepted(Answer):
    """A run that the server has taken; from now on nothing loses it."""

    run_id: str
    status: RunStatus


class RunSummary(Answer):
    """A run without its steps.

    A very long prompt or response is cut; then `prompt_body` or `response_body` names the whole. The cost
    is in USD, None while no charge is known; `unpriced` counts the charges without a known price, and
    `charged` the model calls that are charged so far (None: the server does not say). `replay`: of which
    run it is a replay, and how.
    """

    run_id: str
    status: RunStatus
    agent: str | None = None
    agent_version: int | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_body: str | None = None
    response: str | None = None
    response_body: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    group: str | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    step_count: int = 0
    rounds: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    total_tokens: int = 0
    total_cost_usd: Decimal | None = None
    unpriced: int | None = None
    charged: int | None = None
    error: Failure | None = None
    replay: ReplayPlan | None = None

    @property
    def lacks_charges(self) -> bool:
        """Whether the cost is known to be a part of what it will be: charges follow the steps."""
        return self.charged is not None and self.charged < self.model_calls

    @property
    def duration(self) -> timedelta | None:
        """From when it was created until it finished; None until then."""
        return self.finished_at - self.created_at if self.finished_at and self.created_at else None


class Artifact(Answer):
    """A file of `size` bytes that a tool made; `save_artifact` fetches it."""

    name: str
    media_type: str
    size: int


class Run(RunSummary):
    """A run with its steps. `next_after` is set while steps behind these are missing."""

    steps: tuple[AnyStep, ...] = ()
    next_after: int | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The files that its tools made; of several with the same name the last."""
        files = (file for step in self.steps if isinstance(step, ToolResult) for file in step.artifacts)
        made = (Artifact(name=file.name, media_type=file.media_type, size=file.size) for file in files)
        return tuple({file.name: file for file in made}.values())

    def with_page(self, page: "StepPage") -> Self:
        """The run with the next page of steps."""
        return self.model_copy(update={"steps": (*self.steps, *page.items), "next_after": page.next_after})


class StepPage(Answer):
    """A window of a run's steps; `next_after` is set when more follow."""

    items: tuple[AnyStep, ...]
    next_after: int | None = None


class Page(Answer, Generic[Item]):
    """A window of a list; `next_cursor` is set when more follow."""

    items: tuple[Item, ...]
    next_cursor: str | None = None


class ChatReply(Answer):
    response: str
    run_id: str


class ApprovalRule(Answer):
    """Calls that wait for a person: of this tool, or of every one (`*`), if it has this effect."""

    tool: str
    effect: Effect | None = None


class Limits(Answer):
    """How far a run may go; None: the default."""

    max_rounds: int | None = None
    timeout_s: float | None = None
    budget_usd: float | None = None
    approval_timeout_s: float | None = None


class WaitingCall(Answer):
    """A call that somebody has to decide about; without `arguments_hash`, to say what became of it."""

    call_id: str
    tool: str
    arguments: JsonValue = None
    arguments_hash: str | None = None
    effect: Effect
    asked_at: datetime
    expires_at: datetime | None = None


class WaitingRun(Answer):
    """A run that waits for a person."""

    run_id: str
    reason: str
    agent: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    why: str | None = None
    calls: tuple[WaitingCall, ...] = ()


class AgentSummary(Answer):
    """A version of an agent, without its instructions. `tools` is None when it may use all that there are."""

    name: str
    version: int
    newest_version: int
    description: str = ""
    model: str | None = None
    tools: tuple[str, ...] | None = None
    handoffs: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    created_at: datetime
    created_by: str = ""
    archived_at: datetime | None = None
    is_built_in: bool = False


class Agent(AgentSummary):
    """A version of an agent; it never changes."""

    instructions: str = ""
    parameters: Parameters = Parameters()
    response_format: dict[str, JsonValue] | None = None
    limits: Limits = Limits()
    approval_rules: tuple[ApprovalRule, ...] = ()

    @property
    def definition(self) -> dict[str, JsonValue]:
        """What `create_agent` and `update_agent` take: the agent without what the server says of it."""
        said = {"version", "newest_version", "created_at", "created_by", "archived_at", "is_built_in"}
        return self.model_dump(mode="json", exclude=said)


class AgentChange(Answer):
    """A field that differs between two versions, as a dotted path."""

    field: str
    before: JsonValue = None
    after: JsonValue = None


class AgentDiff(Answer):
    """What differs between two versions; `instructions` is a unified diff, None when they are the same."""

    name: str
    from_version: int
    to_version: int
    changes: tuple[AgentChange, ...] = ()
    instructions: str | None = None


class Group(Answer):
    """The runs of one label. `by_status` counts them; a status that is not there counts 0."""

    group: str
    runs: int
    by_status: dict[RunStatus, int]
    usage: Usage = Usage()
    total_tokens: int = 0
    total_cost_usd: Decimal | None = None
    unpriced: int = 0
    first_run_at: datetime
    last_run_at: datetime


class GroupCancelled(Answer):
    """How many runs were asked to stop, and how many still have to be."""

    group: str
    asked: int
    left: int


class BatchLine(Answer):
    """One run of an upload, counted from 0: its id, or why it was refused."""

    index: int
    batch_id: str
    run_id: str | None = None
    problem: Problem | None = None


class Batch(Answer):
    """A batch and how far its runs are. `size` counts the refused too; None until the upload's end.

    `status` is receiving, running or finished; `deleted` are the accepted runs that were deleted since.
    """

    batch_id: str
    name: str | None = None
    status: str
    created_at: datetime
    cancelled_at: datetime | None = None
    size: int | None = None
    accepted: int
    runs: dict[RunStatus, int]
    deleted: int = 0
    total_tokens: int = 0
    total_cost_usd: Decimal | None = None
    unpriced: int = 0

    @property
    def ended(self) -> int:
        return sum(count for status, count in self.runs.items() if status.is_final) + self.deleted


class BatchCancelled(Answer):
    """How many runs were asked to stop: those that waited for their turn, and those on their way."""

    batch_id: str
    waiting: int
    running: int


class Session(Answer):
    """The runs of one session_id and what they add up to."""

    session_id: str
    runs: int
    total_tokens: int = 0
    total_cost_usd: Decimal | None = None
    unpriced: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    last_run_id: str
    last_status: RunStatus


class SessionRun(RunSummary):
    """A run of a session. `memory` is that at its end: messages as references into its log, and notes."""

    memory: JsonValue = None


class Note(Answer):
    """Something that agents remember in a session."""

    key: str
    text: str
    updated_at: datetime


class ModelList(Answer):
    """The models that a run may name, and the one of a run that names none. `provider` says whose they
    are; it is None, and the list empty, while no runner knows them."""

    provider: str | None = None
    default: str = ""
    items: tuple[str, ...] = ()
