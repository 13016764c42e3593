"""Jobs on the stream WORK: what the gateway asks of the other services. Pure."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter

from shared.steps import (
    AgentSnapshot,
    Edit,
    Fact,
    Parameters,
    Project,
    Rates,
    RunId,
    ToolAnswer,
    ToolSpec,
)

MetricName = Literal[
    "success",
    "cost_usd",
    "latency_ms",
    "tokens",
    "rounds",
    "tool_calls",
    "exact",
    "contains",
    "expression",
]


class WantedMetric(Fact):
    """What a run of a replay is measured by.

    `success`: it completed. `exact` and `contains` compare the answer with `expected`; `expression` is Python
    over `answer`, `status`, `cost_usd`, `latency_ms`, `tokens`, `rounds`, `tool_calls` and `expected`, and
    gives a number or a truth value. `expected` is the same for all sources, or by source.
    """

    name: MetricName
    label: str
    higher_is_better: bool
    expected: str | dict[RunId, str] | None = None
    expression: str | None = None


class Changes(Fact):
    """What the runs of an arm have otherwise than their source; None: as the source has it.

    `agent` replaces all that its snapshot holds; the other fields then replace parts of that. `parameters`
    replace only those that are set. `rates` are added to those of the source.
    """

    agent: AgentSnapshot | None = None
    agents: tuple[AgentSnapshot, ...] | None = None
    model: str | None = None
    instructions: str | None = None
    prompt: str | None = None
    parameters: Parameters = Parameters()
    tools: tuple[ToolSpec, ...] | None = None
    response_format: dict[str, JsonValue] | None = None
    max_rounds: int | None = None
    timeout_s: float | None = None
    budget_usd: float | None = None
    rates: dict[str, Rates] = Field(default_factory=dict)


class Arm(Fact):
    """One side of a comparison: its runs have these changes, and, of a fork, these edits."""

    name: str
    changes: Changes = Changes()
    edits: tuple[Edit, ...] = ()


class ReplayRequested(Fact):
    """The order of a replay: the runs `sources`, each `samples` times for each arm. The first arm is the
    baseline where there are several.

    `ask_about` are the tools whose calls a person must allow by now, whatever the sources say.
    `fork_step` is of a fork. Of `blame`, `samples` are for each step that is looked at, `most_runs` bounds
    all of them, and a value of the first metric of at least `threshold` is a success. `stop_early`: no more
    samples than the verdict needs.
    """

    kind: Literal["replay-requested"] = "replay-requested"
    replay_id: RunId
    project: Project
    at: AwareDatetime
    who: str
    mode: Literal["verify", "rerun", "fork", "blame"]
    sources: tuple[RunId, ...]
    arms: tuple[Arm, ...]
    samples: int = Field(default=1, ge=1)
    fork_step: int | None = None
    tools: dict[str, ToolAnswer] = Field(default_factory=dict)
    ask_about: tuple[str, ...] = ()
    metrics: tuple[WantedMetric, ...] = ()
    confidence: float = Field(default=0.95, gt=0, lt=1)
    stop_early: bool = True
    most_runs: int | None = None
    threshold: float = 1.0
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class ReplayCancelled(Fact):
    """Start no further runs of this replay, and stop those that go on."""

    kind: Literal["replay-cancelled"] = "replay-cancelled"
    replay_id: RunId
    project: Project
    at: AwareDatetime
    who: str


ReplayMessage = Annotated[ReplayRequested | ReplayCancelled, Field(discriminator="kind")]
replay_messages: Final[TypeAdapter[ReplayMessage]] = TypeAdapter(ReplayMessage)
