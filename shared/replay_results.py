"""What comes of a replay: the JSON of `replays.result` and of `replay_runs.measures`. Pure."""

from typing import Literal

from pydantic import AwareDatetime, Field

from shared.findings import Blame, Verdict
from shared.steps import Divergence, Fact, RunId
from shared.usd import Usd

ReplayStatus = Literal["queued", "running", "cancelling", "completed", "failed", "cancelled"]
"""`cancelling`: its runs have been asked to stop, and some have not ended yet."""


class Trouble(Fact):
    """Why there is nothing better to tell: `type` for programs, `message` for people."""

    type: str
    message: str


class Verified(Fact):
    """How the rehearsal of a source went."""

    equal: bool
    steps: int
    model_calls: int


class RunMeasures(Fact):
    """What a run of a replay came to. What it took over from its source has cost no money, tokens or time;
    rounds and calls of tools are those of the whole conversation."""

    cost_usd: Usd | None = Field(default=None, description="None: the price of a model is not known.")
    latency_ms: int | None = None
    tokens: int | None = None
    rounds: int | None = None
    tool_calls: int | None = None
    values: dict[str, float | None] = Field(
        default_factory=dict, description="By the label of each metric; None: the run has no value of it."
    )
    faults: dict[str, str] = Field(
        default_factory=dict, description="Why a metric, the diff or the divergence could not be had."
    )
    verified: Verified | None = None
    divergence: Divergence | None = Field(
        default=None, description="The first call of the model that asked for something else."
    )
    error: Trouble | None = Field(default=None, description="Why the run has failed, or is gone.")


class RunCounts(Fact):
    """Runs of the replay. `most`: as many as it may come to; `planned` so far, with those that go on and
    those that have `ended`: completed, failed or cancelled."""

    most: int
    planned: int
    ended: int
    completed: int
    failed: int
    cancelled: int


class MetricSummary(Fact):
    """The values of one metric in one arm, of its ended runs; `missing` of them have none."""

    label: str
    n: int
    missing: int
    mean: float | None
    least: float | None
    greatest: float | None


class ArmResult(Fact):
    name: str
    runs: int = Field(description="That have ended.")
    failed: int
    cost_usd: Usd
    unpriced: int = Field(description="Runs whose cost is not known; it is in no sum.")
    metrics: tuple[MetricSummary, ...]


class SourceVerification(Fact):
    """A source whose rehearsal was not equal: it diverged, or could not be made."""

    source_run_id: RunId
    run_id: RunId
    divergence: Divergence | None
    error: Trouble | None


class Verification(Fact):
    """`failed`: the rehearsal could not be made. The sources that are not equal, at most the first 100."""

    equal: int
    diverged: int
    failed: int
    not_equal: tuple[SourceVerification, ...]


class ReplayResult(Fact):
    """What has come of a replay up to `at`."""

    at: AwareDatetime
    runs: RunCounts
    arms: tuple[ArmResult, ...]
    verification: Verification | None = None
    verdict: Verdict | None = Field(
        default=None, description="Of the last look at the samples; None: there is nothing to compare yet."
    )
    blame: Blame | None = None
    cost_usd: Usd = Field(description="Of the runs that have ended and whose price is known.")
    unpriced: int = Field(description="Runs whose cost is not known; it is in no sum.")
