"""SQL of steering: runs that wait for a person, runs to be woken, and trees of runs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from services.gateway.waiting.views import Tree, TreeRun, WaitingCall, WaitingRun
from shared.database import Connection
from shared.run_state import RunState
from shared.step_codec import decode_step
from shared.steps import ApprovalRequested, RunStatus, Step, ToolCall
from shared.subjects import RunKey

WAITING: Final = """
    SELECT run_id, agent, user_id, session_id, group_name, waiting_reason, waiting_until FROM runs
    WHERE project = $1 AND status = 'waiting' AND deleted_at IS NULL
      AND waiting_reason IN ('approval', 'unknown-outcome', 'budget')
      AND ($2::uuid IS NULL OR run_id < $2)
      AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = runs.run_id)
    ORDER BY run_id DESC LIMIT $3
"""
QUESTIONS: Final = """
    SELECT run_id, payload FROM steps WHERE project = $1 AND run_id = ANY ($2::uuid[]) AND kind IN (
        'run-waiting', 'approval-requested', 'approval-resolved', 'outcome-resolved',
        'tool-call', 'tool-result'
    ) ORDER BY run_id, seq
"""
LATE: Final = """
    SELECT project, run_id FROM runs
    WHERE waiting_reason = 'approval' AND waiting_until <= now() AND deleted_at IS NULL
    ORDER BY waiting_until LIMIT $1
"""
# What a run waited for has come, but no runner has it: whoever was to wake it stopped in between.
UNWOKEN: Final = """
    SELECT project, run_id, (SELECT max(seq) FROM steps WHERE steps.run_id = runs.run_id) AS seq FROM runs
    WHERE waiting_reason IS NOT NULL AND deleted_at IS NULL AND EXISTS (
        SELECT FROM steps WHERE steps.run_id = runs.run_id AND steps.seq > runs.status_seq
          AND kind IN ('approval-resolved', 'outcome-resolved', 'budget-raised', 'cancel-requested')
          AND at < now() - $2::interval
    ) LIMIT $1
"""
TREE: Final = """
    SELECT r.run_id, r.parent_run_id, r.agent, r.status, r.input_tokens + r.output_tokens AS tokens,
           (SELECT sum(amount_usd) FROM charges WHERE charges.run_id = r.run_id) AS usd
    FROM runs AS r WHERE r.project = $1 AND (r.root_run_id = $2 OR r.run_id = $2) AND r.deleted_at IS NULL
    ORDER BY r.run_id LIMIT $3
"""
MOST_OF_A_TREE: Final = 1000


async def waiting_runs(
    connection: Connection, project: str, before: UUID | None, limit: int
) -> list[WaitingRun]:
    """Newest first, each with what it asks."""
    rows = await connection.fetch(WAITING, project, before, limit)
    steps: dict[UUID, list[Step]] = {row["run_id"]: [] for row in rows}
    for row in await connection.fetch(QUESTIONS, project, list(steps)):
        steps[row["run_id"]].append(decode_step(from_json(row["payload"])))
    return [_waiting(row, steps[row["run_id"]]) for row in rows]


async def late_runs(connection: Connection, most: int) -> list[RunKey]:
    """Runs of which a call was not decided about in time."""
    return [RunKey(row["project"], str(row["run_id"])) for row in await connection.fetch(LATE, most)]


async def unwoken_runs(connection: Connection, most: int, age: timedelta) -> list[tuple[RunKey, int]]:
    """Runs that could go on since that long, and the seq of their last step."""
    rows = await connection.fetch(UNWOKEN, most, age)
    return [(RunKey(row["project"], str(row["run_id"])), row["seq"]) for row in rows]


async def tree(connection: Connection, root: RunKey) -> Tree | None:
    """The tree under this root, at most its first 1,000 runs; None while the root is not recorded."""
    rows = await connection.fetch(TREE, root.project, UUID(root.run_id), MOST_OF_A_TREE)
    by_parent: dict[str | None, list[Any]] = {}
    for row in rows:
        by_parent.setdefault(str(row["parent_run_id"]) if row["parent_run_id"] else None, []).append(row)
    top = next((row for row in rows if str(row["run_id"]) == root.run_id), None)
    if top is None:
        return None
    costs = [row["usd"] for row in rows if row["usd"] is not None]
    return Tree(
        root=_node(top, by_parent, 0),
        runs=len(rows),
        total_tokens=sum(row["tokens"] for row in rows),
        total_cost_usd=sum(costs, Decimal()) if costs else None,
    )


def _node(row: Any, by_parent: Mapping[str | None, Sequence[Any]], depth: int) -> TreeRun:
    run_id = str(row["run_id"])
    below = by_parent.get(run_id, ()) if depth < MOST_OF_A_TREE else ()
    return TreeRun(
        run_id=run_id,
        parent_run_id=str(row["parent_run_id"]) if row["parent_run_id"] else None,
        agent=row["agent"],
        status=RunStatus(row["status"]),
        total_tokens=row["tokens"],
        total_cost_usd=row["usd"],
        children=tuple(_node(child, by_parent, depth + 1) for child in below),
    )


def _waiting(row: Any, steps: Sequence[Step]) -> WaitingRun:
    state, since = RunState(), None
    for step in steps:
        state.next_seq = step.seq  # only some of the steps are here
        state.apply(step)
        since = step.at if step.kind == "run-waiting" else since
    return WaitingRun(
        run_id=str(row["run_id"]),
        reason=row["waiting_reason"],
        agent=row["agent"],
        user_id=row["user_id"],
        session_id=row["session_id"],
        group=row["group_name"],
        since=since,
        until=row["waiting_until"],
        why=state.waiting.why or None if state.waiting is not None else None,
        calls=tuple(_calls(state)),
    )


def _calls(state: RunState) -> Iterable[WaitingCall]:
    for asked in state.asked.values():
        yield _call(asked, asked.arguments_hash, asked.expires_at)
    if state.waiting is not None and (call := state.open_calls.get(state.waiting.call_id or "")) is not None:
        yield _call(call, None, None)


def _call(
    call: ApprovalRequested | ToolCall, arguments_hash: str | None, expires_at: datetime | None
) -> WaitingCall:
    return WaitingCall(
        call_id=call.call_id,
        tool=call.tool,
        arguments=call.arguments,
        arguments_hash=arguments_hash,
        effect=call.effect,
        asked_at=call.at,
        expires_at=expires_at,
    )
