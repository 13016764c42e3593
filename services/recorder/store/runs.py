"""The table `runs`: how a change meets the row of its run, and the tombstones of deleted runs.

Each column has a rule that is commutative and associative, so any order of arrival ends in the same row; a
deleted run takes nothing in any more.
"""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Final

from services.recorder.change import RunChange
from shared.database import Connection
from shared.steps import RunDeleted

FIRST: Final = "COALESCE(runs.{0}, excluded.{0})"
EARLIEST: Final = "LEAST(runs.{0}, excluded.{0})"
LARGEST: Final = "GREATEST(runs.{0}, excluded.{0})"
SUM: Final = "runs.{0} + excluded.{0}"
OF_LAST_STATUS: Final = "CASE WHEN excluded.status_seq > runs.status_seq THEN excluded.{0} ELSE runs.{0} END"
OF_LAST_RESPONSE: Final = (
    "CASE WHEN excluded.response_seq > runs.response_seq THEN excluded.{0} ELSE runs.{0} END"
)
KEY: Final = "runs.{0}"

COLUMNS: Final = {
    "run_id": ("uuid", KEY),
    "project": ("text", KEY),
    "status": ("text", OF_LAST_STATUS),
    "status_seq": ("int", LARGEST),
    "agent": ("text", FIRST),
    "agent_version": ("int", FIRST),
    "model": ("text", FIRST),
    "prompt": ("text", FIRST),
    "prompt_body": ("text", FIRST),
    "response": ("text", OF_LAST_RESPONSE),
    "response_body": ("text", OF_LAST_RESPONSE),
    "response_seq": ("int", LARGEST),
    "session_id": ("text", FIRST),
    "user_id": ("text", FIRST),
    "group_name": ("text", FIRST),
    "metadata": ("jsonb", FIRST),
    "created_at": ("timestamptz", FIRST),
    "started_at": ("timestamptz", EARLIEST),
    "finished_at": ("timestamptz", OF_LAST_STATUS),
    "last_seq": ("int", LARGEST),
    "steps": ("int", SUM),
    "attempt": ("int", LARGEST),
    "input_tokens": ("bigint", SUM),
    "cached_input_tokens": ("bigint", SUM),
    "output_tokens": ("bigint", SUM),
    "reasoning_tokens": ("bigint", SUM),
    "model_calls": ("int", SUM),
    "tool_calls": ("int", SUM),
    "rounds": ("int", SUM),
    "error": ("jsonb", OF_LAST_STATUS),
    "waiting_reason": ("text", OF_LAST_STATUS),
    "waiting_until": ("timestamptz", OF_LAST_STATUS),
    "parent_run_id": ("uuid", FIRST),
    "root_run_id": ("uuid", FIRST),
    "replay_id": ("uuid", FIRST),
    "source_run_id": ("uuid", FIRST),
    "replay": ("jsonb", FIRST),
}


def _upsert() -> str:
    arrays = ", ".join(f"${place}::{kind}[]" for place, (kind, _) in enumerate(COLUMNS.values(), start=1))
    merged = ", ".join(f"{name} = {rule.format(name)}" for name, (_, rule) in COLUMNS.items() if rule != KEY)
    return (
        f"INSERT INTO runs ({', '.join(COLUMNS)}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - constants
        f"ON CONFLICT (run_id) DO UPDATE SET {merged} WHERE runs.deleted_at IS NULL RETURNING run_id"
    )


UPSERT: Final = _upsert()
# A deleted run is as if no step had come, so that it does not matter which ones had.
BLANK: Final = ("status", "status_seq", "response_seq", "last_seq")
CLEARED: Final = ", ".join(
    f"{name} = excluded.{name}" if name in BLANK else f"{name} = DEFAULT"
    for name, (_, rule) in COLUMNS.items()
    if rule != KEY
)
BURY: Final = f"""
INSERT INTO runs (run_id, project, deleted_at, {", ".join(BLANK)})
SELECT run_id, project, deleted_at, 'queued', -1, -1, -1
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS deleted (run_id, project, deleted_at)
ON CONFLICT (run_id) DO UPDATE SET {CLEARED}, deleted_at = LEAST(runs.deleted_at, excluded.deleted_at)
"""  # noqa: S608 - constants
DELETED: Final = "SELECT run_id FROM runs WHERE run_id = ANY ($1::uuid[]) AND deleted_at IS NOT NULL"
_fields = attrgetter(*COLUMNS)


async def merge(connection: Connection, changes: Sequence[RunChange]) -> frozenset[str]:
    """Apply the changes, one for a run and sorted by run; returns the runs that are deleted."""
    columns = zip(*map(_fields, changes), strict=True)
    merged = await connection.fetch(UPSERT, *(list(column) for column in columns))
    if len(merged) == len(changes):
        return frozenset()
    return frozenset(change.run_id for change in changes) - {str(row[0]) for row in merged}


async def bury(connection: Connection, deletions: Sequence[RunDeleted]) -> None:
    """Leave a tombstone, which refuses late steps; of several deletions of a run the first counts."""
    first = {step.run_id: step for step in sorted(deletions, key=lambda step: step.at, reverse=True)}
    runs = [first[run_id] for run_id in sorted(first)]
    await connection.execute(
        BURY, [step.run_id for step in runs], [step.project for step in runs], [step.at for step in runs]
    )


async def deleted(connection: Connection, run_ids: Collection[str]) -> frozenset[str]:
    """Those of the runs that are deleted."""
    return frozenset(str(row[0]) for row in await connection.fetch(DELETED, list(run_ids)))
