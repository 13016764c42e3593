"""What the API shows of runs that wait, and of trees of runs."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from services.gateway.views import View
from shared.steps import Effect, RunStatus
from shared.usd import Usd


class WaitingCall(View):
    """A call that somebody has to decide about."""

    call_id: str
    tool: str
    arguments: JsonValue
    arguments_hash: str | None = Field(description="To be given with the decision; null for an outcome.")
    effect: Effect
    asked_at: datetime
    expires_at: datetime | None


class WaitingRun(View):
    run_id: str
    reason: Literal["approval", "unknown-outcome", "budget"]
    agent: str | None
    user_id: str | None
    session_id: str | None
    group: str | None
    since: datetime | None
    until: datetime | None
    why: str | None = Field(description="What a run lacks that waits for a higher budget.")
    calls: tuple[WaitingCall, ...]


class WaitingList(View):
    items: tuple[WaitingRun, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class TreeRun(View):
    """A run of a tree; `children` are the runs that answered its calls."""

    run_id: str
    parent_run_id: str | None
    agent: str | None
    status: RunStatus
    total_tokens: int
    total_cost_usd: Usd | None
    children: tuple["TreeRun", ...]


class Tree(View):
    """All runs that hang together, and what they add up to."""

    root: TreeRun
    runs: int
    total_tokens: int
    total_cost_usd: Usd | None
