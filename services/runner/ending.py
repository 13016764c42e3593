"""How a run ends: the working memory and the final step. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.runner.journal import Draft
from shared.run_state import RunState
from shared.steps import AgentResponse, Failure, MemorySnapshot, RunFinished, RunStatus, ToolResult, Totals


def ending(
    state: RunState, at: datetime, status: RunStatus, failure: Failure | None, before: Sequence[Draft] = ()
) -> list[Draft]:
    """The drafts of `before`, the working memory and the end: they belong into one message."""
    return [
        *before,
        (MemorySnapshot, {"memory": _memory(state, before)}),
        (RunFinished, {"status": status, "error": failure, "totals": _totals(state, at, before)}),
    ]


def _memory(state: RunState, before: Sequence[Draft]) -> dict[str, Any]:
    """The conversation as references into the log, and notes."""
    messages = [{"seq": turn.seq, "kind": turn.kind} for turn in state.turns]
    for offset, (kind, _) in enumerate(before):
        if issubclass(kind, AgentResponse | ToolResult):
            messages.append({"seq": state.next_seq + offset, "kind": kind.model_fields["kind"].default})
    return {"messages": messages, "notes": {}}


def _totals(state: RunState, at: datetime, before: Sequence[Draft]) -> Totals:
    usage = state.usage
    for _, fields in before:
        if "model_call" in fields:
            usage += fields["model_call"].usage
    duration = (at - (state.started_at or at)).total_seconds()
    return Totals(
        usage=usage,
        rounds=state.rounds,
        tool_calls=state.tool_calls,
        duration_ms=max(0, round(duration * 1000)),
    )
