"""How a change meets the row of its run: one upsert, and any order of arrival ends in the same row.

Each column has a rule that is commutative and associative; a deleted run takes nothing in any more.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from services.recorder.change import RunChange

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
}


def _upsert() -> str:
    arrays = ", ".join(f"${place}::{kind}[]" for place, (kind, _) in enumerate(COLUMNS.values(), start=1))
    merged = ", ".join(f"{name} = {rule.format(name)}" for name, (_, rule) in COLUMNS.items() if rule != KEY)
    # The rows come sorted, so that two recorders lock them in the same order.
    return (
        f"INSERT INTO runs ({', '.join(COLUMNS)}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - constants
        f"ON CONFLICT (run_id) DO UPDATE SET {merged} WHERE runs.deleted_at IS NULL RETURNING run_id"
    )


UPSERT: Final = _upsert()
_fields = attrgetter(*COLUMNS)


def values(changes: Sequence[RunChange]) -> list[list[object]]:
    """The parameters of UPSERT: a list for each column."""
    return [list(column) for column in zip(*map(_fields, changes), strict=True)]
