"""What the server answers about replays. Their results, orders and diffs are those of `shared`."""

from datetime import datetime
from decimal import Decimal

from pydantic import Field, JsonValue

from shared.diff.models import RunDiff
from shared.messages import ReplayRequested
from shared.replay_results import ReplayResult, RunCounts, RunMeasures, Trouble
from shared.steps import Edit, RunStatus
from studio.client.models import Answer

FINAL = frozenset({"completed", "failed", "cancelled"})


class ReplayAccepted(Answer):
    """A replay that the server has taken, or was asked to end."""

    replay_id: str
    status: str


class ReplaySummary(Answer):
    """A replay without its runs. `runs` is None until they are planned, `words` while there is no verdict."""

    replay_id: str
    mode: str
    status: str
    run_id: str
    sources: int = 1
    arms: tuple[str, ...] = ()
    samples: int = 1
    fork_step: int | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    created_at: datetime
    finished_at: datetime | None = None
    runs: RunCounts | None = None
    words: str | None = None
    error: Trouble | None = None

    @property
    def id(self) -> str:
        return self.replay_id

    @property
    def has_ended(self) -> bool:
        return self.status in FINAL


class ReplayRun(Answer):
    """A run of a replay. `status` is None until it has ended."""

    run_id: str
    source_run_id: str
    arm: str
    sample: int = 0
    fork_step: int | None = None
    status: RunStatus | None = None
    measures: RunMeasures | None = None
    requested_at: datetime | None = None
    ended_at: datetime | None = None
    has_diff: bool = False


class Replay(ReplaySummary):
    """What was ordered, what has come of it so far, its first runs, and the diff of the first of them
    against its source. `next_cursor` is set when there are more runs: `replay_runs` lists all."""

    order: ReplayRequested
    result: ReplayResult | None = None
    items: tuple[ReplayRun, ...] = ()
    next_cursor: str | None = None
    diff: RunDiff | None = None


class LineageRun(Answer):
    """A run and those that replay it; `more` others do, which are not shown."""

    run_id: str
    source_run_id: str | None = None
    mode: str | None = None
    replay_id: str | None = None
    fork_step: int | None = None
    edits: tuple[Edit, ...] = ()
    arm: str | None = None
    sample: int | None = None
    agent: str | None = None
    model: str | None = None
    status: RunStatus
    total_cost_usd: Decimal | None = None
    replays: tuple["LineageRun", ...] = ()
    more: int = 0


class Lineage(Answer):
    """The tree of replays from the first run on, with so many runs."""

    root: LineageRun
    runs: int
