"""How the log of an imported run says so, and what that run was where it comes from."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from shared.steps import ConversationStep, ReplayPlan, RunRequested, Step, ToolCall

WRITER: Final = "imported"
"""The writer of every step of such a run; those of services are made of hexadecimal digits."""
MARK: Final = "imported"
"""Where the metadata of its request have its origin."""
LEFT_BEHIND: Final = (
    *("session_id", "group", "after_run_id", "parent_run_id", "parent_call_id", "root_run_id"),
    "replay",
)
"""What binds a run to others: an imported one has it in its origin alone."""
_plan: Final[TypeAdapter[ReplayPlan | None]] = TypeAdapter(ReplayPlan | None)


def as_sent(steps: Sequence[Step]) -> list[Step]:
    """The steps, large values in place, as they were where they come from: an imported run has said and
    called by itself, under its own id, what its steps call copied. Any other run as it is."""
    first = steps[0] if steps else None
    if not isinstance(first, RunRequested) or first.writer != WRITER or MARK not in first.metadata:
        return list(steps)
    mark: Any = first.metadata[MARK]
    own = {"run_id": mark["run_id"], "project": mark["project"]}
    bonds = {name: mark.get(name) for name in LEFT_BEHIND} | {
        "replay": _plan.validate_python(mark.get("replay"))
    }
    metadata = {name: value for name, value in first.metadata.items() if name != MARK}
    request = first.model_copy(update={**own, **bonds, "metadata": metadata})
    copied = mark.get("copied", {})
    return [request, *(_sent(step, own, copied.get(str(step.seq))) for step in steps[1:])]


def _sent(step: Step, own: dict[str, str], copied_from: int | None) -> Step:
    changes: dict[str, Any] = dict(own)
    if isinstance(step, ConversationStep):
        changes["copied_from"] = copied_from
    if isinstance(step, ToolCall):
        changes["idempotency_key"] = step.idempotency_key.replace(step.run_id, own["run_id"])
    return step.model_copy(update=changes)
