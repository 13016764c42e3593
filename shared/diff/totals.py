"""What the steps of a run add up to, and how far two such sums are apart. Pure.

Unlike the fold, which counts what a run has spent, answers that a replay has taken over count here: else it
could not be compared with its source.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from shared.diff.models import DiffSide, RunTotals
from shared.run_state import RunState, fold
from shared.steps import AgentResponse, AgentThought, AnswerRejected, Step, ToolCall, Usage

MILLISECOND: Final = timedelta(milliseconds=1)


def side_of(steps: Sequence[Step], cost_usd: Decimal | None) -> DiffSide:
    """Raises LogGap when these are not the first steps of a run."""
    state = fold(steps)
    return DiffSide(run_id=steps[0].run_id, status=state.status, totals=_totals(steps, state, cost_usd))


def _totals(steps: Sequence[Step], state: RunState, cost_usd: Decimal | None) -> RunTotals:
    calls = [
        step.model_call for step in steps if isinstance(step, AgentThought | AnswerRejected | AgentResponse)
    ]
    usage = sum((call.usage for call in calls), Usage())
    ended, began = state.finished_at, state.started_at
    return RunTotals(
        steps=len(steps),
        rounds=sum(isinstance(step, AgentThought) for step in steps),
        model_calls=len(calls),
        tool_calls=sum(isinstance(step, ToolCall) for step in steps),
        usage=dict(usage),
        total_tokens=usage.total,
        model_latency_ms=sum(call.latency_ms for call in calls),
        duration_ms=(ended - began) // MILLISECOND if ended and began else None,
        cost_usd=cost_usd,
    )


def delta(left: RunTotals, right: RunTotals) -> RunTotals:
    """Right minus left."""
    own, other = dict(left), dict(right)
    usage = {kind: count - left.usage[kind] for kind, count in right.usage.items()}
    differences = {
        name: None if own[name] is None or value is None else value - own[name]
        for name, value in other.items()
        if name != "usage"
    }
    return RunTotals(usage=usage, **differences)
