"""Where a run can be forked, and what a fork takes over from its source. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from shared.errors import StudioError
from shared.run_state import RunState
from shared.steps import (
    AgentChanged,
    AgentThought,
    AnswerRejected,
    Edit,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
)

START: Final = 0
"""The fork step that keeps nothing: the run begins anew."""
KINDS: Final = (UserRequest, AgentThought, ToolResult, AgentChanged, AnswerRejected)
Kept = UserRequest | AgentThought | ToolCall | ToolResult | AgentChanged | AnswerRejected
"""A step that a fork takes over."""
EDITABLE: Final[Mapping[type[Kept], str]] = {
    UserRequest: "content",
    AgentThought: "content",
    AnswerRejected: "content",
    ToolResult: "result",
}


class CannotFork(StudioError):
    """The run cannot be forked like that; the message says what would be right. `field`: step or edits."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def fork_points(steps: Sequence[Step]) -> list[int]:
    """The steps up to and with which a fork may keep the run, in order: no call of a tool is under way.

    Of a thought the message of the model is kept, and its calls are made anew. Raises LogGap.
    """
    points = [START]
    state = RunState()
    was_calm = True
    for step in steps:
        state.apply(step)
        is_calm = not (state.open_calls or state.asked or state.decided)
        if (isinstance(step, AgentThought) and was_calm) or (isinstance(step, KINDS) and is_calm):
            points.append(step.seq)
        was_calm = is_calm
    return _without_halves(points, steps)


def kept(steps: Sequence[Step], fork_step: int, edits: Sequence[Edit] = ()) -> list[Kept]:
    """The steps of the conversation that a fork takes over, edited, oldest first; the last one is that of the
    fork. Raises CannotFork for a step where the run cannot be forked, and for edits that fit no kept step."""
    points = fork_points(steps)
    if fork_step not in points:
        raise CannotFork("step", _told(fork_step, points, steps))
    # An answer in the middle was taken back when the run was retried.
    found = {step.seq: step for step in steps if isinstance(step, Kept) and step.seq <= fork_step}
    for edit in edits:
        step = found.get(edit.step)
        if step is None:
            raise CannotFork("edits", f"step {edit.step} is no message or result that the fork keeps")
        found[edit.step] = _edited(step, edit, is_last=edit.step == fork_step)
    return list(found.values())


def _edited(step: Kept, edit: Edit, *, is_last: bool) -> Kept:
    if edit.field == "arguments":
        return _with_arguments(step, edit, is_last=is_last)
    if EDITABLE.get(type(step)) != edit.field:
        field = EDITABLE.get(type(step))
        can = f"; edit its {field!r}" if field else ""
        raise CannotFork("edits", f"step {edit.step} ({step.kind}) has no {edit.field!r}{can}")
    if edit.field == "content" and not isinstance(edit.value, str):
        raise CannotFork("edits", f"the content of step {edit.step} is a text")
    changes: dict[str, JsonValue] = {edit.field: edit.value}
    if isinstance(step, ToolResult):
        changes |= {"status": "ok", "error_type": None}
    return step.model_copy(update=changes)


def _with_arguments(step: Kept, edit: Edit, *, is_last: bool) -> Kept:
    if not isinstance(step, AgentThought) or not is_last:
        message = (
            "arguments can be edited in the thought that the run is forked at, whose calls are made anew"
        )
        raise CannotFork("edits", message)
    ids = [call.call_id for call in step.tool_calls]
    if edit.call_id not in ids:
        raise CannotFork(
            "edits", f"step {edit.step} has no call {edit.call_id!r}; its calls are {', '.join(ids)}"
        )
    if not isinstance(edit.value, str):
        raise CannotFork("edits", "arguments are the JSON text that the model would have written")
    calls = tuple(
        call.model_copy(update={"arguments": edit.value}) if call.call_id == edit.call_id else call
        for call in step.tool_calls
    )
    return step.model_copy(update={"tool_calls": calls})


def _without_halves(points: list[int], steps: Sequence[Step]) -> list[int]:
    """The result of a handover belongs together with the change of the agent behind it."""
    before_change = {step.seq - 1 for step in steps if isinstance(step, AgentChanged)}
    return [point for point in points if point not in before_change]


def _told(step: int, points: Sequence[int], steps: Sequence[Step]) -> str:
    last = steps[-1].seq if steps else 0
    if step > last:
        return f"the run has no step {step}; its last is {last}"
    near = list(_neighbours(step, points))
    where = " or ".join(str(point) for point in near)
    return f"step {step} is none after which the run could go on by itself; fork at step {where}"


def _neighbours(step: int, points: Sequence[int]) -> Iterator[int]:
    yield max(point for point in points if point < step)
    yield from [point for point in points if point > step][:1]
