"""The runs that answer calls of other runs: which they are follows from the calls. Pure."""

from collections.abc import Iterable

from shared.derived_ids import derived_id
from shared.steps import Step, ToolCall
from shared.subjects import RunKey


def child_run_id(call: ToolCall) -> str:
    """A UUIDv7 that follows from the call alone: its time and the hash of its idempotency key."""
    return derived_id(call.at, call.idempotency_key)


def asked_runs(steps: Iterable[Step]) -> list[RunKey]:
    """The runs that this one has started; those that its source had started are not among them."""
    return [
        RunKey(step.project, child_run_id(step))
        for step in steps
        if isinstance(step, ToolCall) and step.most_runs and step.copied_from is None
    ]
