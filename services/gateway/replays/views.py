"""What the API shows of replays, and of the lineage of runs."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from services.gateway.views import View
from shared.diff.models import RunDiff
from shared.messages import ReplayRequested
from shared.replay_results import ReplayResult, ReplayStatus, RunCounts, RunMeasures, Trouble
from shared.steps import Edit, RunStatus
from shared.usd import Usd


class ReplayAccepted(View):
    """A replay that the broker has on disk, or that was asked to stop."""

    replay_id: str
    status: ReplayStatus


class ReplaySummary(View):
    """A replay without its runs."""

    replay_id: str
    mode: Literal["verify", "rerun", "fork", "blame"]
    status: ReplayStatus
    run_id: str = Field(description="The run that is replayed, or the first of them.")
    sources: int = Field(description="How many runs are replayed.")
    arms: tuple[str, ...] = Field(description="The ways in which they are; of several the baseline first.")
    samples: int
    fork_step: int | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None
    runs: RunCounts | None = Field(description="Null until the replayer has planned its runs.")
    words: str | None = Field(description="The verdict in words, so far; null while there is none.")
    error: Trouble | None


class ReplayList(View):
    items: tuple[ReplaySummary, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class ReplayRun(View):
    """A run of a replay."""

    run_id: str
    source_run_id: str
    arm: str
    sample: int
    fork_step: int | None
    status: RunStatus | None = Field(description="How it ended; null before that.")
    measures: RunMeasures | None
    requested_at: datetime | None
    ended_at: datetime | None
    has_diff: bool = Field(description="GET /api/replays/{replay_id}/diffs/{run_id} is there.")


class ReplayRunList(View):
    items: tuple[ReplayRun, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class ReplayDetail(ReplaySummary):
    """A replay: what was ordered, what has come of it so far, its first runs, and the diff of the first."""

    order: ReplayRequested
    result: ReplayResult | None
    items: tuple[ReplayRun, ...] = Field(description="Its first runs.")
    next_cursor: str | None = Field(
        description="When set, there are more: GET /api/replays/{replay_id}/runs?cursor=…"
    )
    diff: RunDiff | None = Field(description="Of the first of its runs that has one, against its source.")


class LineageRun(View):
    """A run, and those that replay it, the oldest first."""

    run_id: str
    source_run_id: str | None
    mode: Literal["verify", "rerun", "fork"] | None = Field(description="How it replays its source.")
    replay_id: str | None
    fork_step: int | None
    edits: tuple[Edit, ...] = Field(
        description="A value over 1 KiB stands as null; GET /api/runs/{run_id} has it."
    )
    arm: str | None
    sample: int | None
    agent: str | None
    model: str | None
    status: RunStatus
    total_cost_usd: Usd | None
    replays: tuple["LineageRun", ...]
    more: int = Field(description="How many others replay it: GET /api/runs?source_run_id=")


class Lineage(View):
    """`root`: the run that the others come from, the first that is still there. Of the runs that replay one
    at most 100 are shown, in all 500."""

    root: LineageRun
    runs: int
