"""What the server answers, as types. Steps are those of `shared.steps`: there is no second vocabulary.

Fields that a newer server adds are ignored, and steps of a kind that it adds are kept.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Generic, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.steps import Effect, Failure, KnownStep, RunStatus, UnknownStep, Usage

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
    `charged` the model calls that are charged so far (None: the server does not say).
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

    @property
    def lacks_charges(self) -> bool:
        """Whether the cost is known to be a part of what it will be: charges follow the steps."""
        return self.charged is not None and self.charged < self.model_calls

    @property
    def duration(self) -> timedelta | None:
        """From when it was created until it finished; None until then."""
        return self.finished_at - self.created_at if self.finished_at and self.created_at else None


class Run(RunSummary):
    """A run with its steps. `next_after` is set while steps behind these are missing."""

    steps: tuple[AnyStep, ...] = ()
    next_after: int | None = None

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


class Tool(Answer):
    """A tool that a run may use; `parameters` is the JSON schema of its arguments."""

    name: str
    display_name: str = ""
    description: str = ""
    effect: Effect = Effect.IRREVERSIBLE
    needs_approval: bool = False
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class ToolList(Answer):
    items: tuple[Tool, ...]


class ModelList(Answer):
    """The models that a run may name, and the one of a run that names none. `provider` says whose they
    are; it is None, and the list empty, while no runner knows them."""

    provider: str | None = None
    default: str = ""
    items: tuple[str, ...] = ()
