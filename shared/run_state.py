"""What a run's steps add up to: the pure fold that runner and gateway share. No I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from shared.errors import StudioError
from shared.steps import (
    AgentResponse,
    AgentThought,
    CancelRequested,
    ModelCall,
    RunClaimed,
    RunDeleted,
    RunFinished,
    RunRequested,
    RunStatus,
    RunWaiting,
    Step,
    ToolCall,
    ToolResult,
    Usage,
    UserRequest,
)

Turn = UserRequest | AgentThought | ToolResult | AgentResponse
"""The steps that are messages of the conversation, in order."""


class LogGap(StudioError):
    """The steps of a run do not follow one another; the log is not what the writers left."""


@dataclass
class RunState:
    """The fold of a run's steps up to `next_seq`.

    `corrections` counts the thoughts in a row that held an unusable tool call, `open_calls` are the
    intents without a result.
    """

    request: RunRequested | None = None
    next_seq: int = 0
    attempt: int = 0
    status: RunStatus = RunStatus.QUEUED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    turns: list[Turn] = field(default_factory=list)
    open_calls: dict[str, ToolCall] = field(default_factory=dict)
    call_ids: set[str] = field(default_factory=set)
    corrections: int = 0
    corrected: bool = False
    rounds: int = 0
    tool_calls: int = 0
    model_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    response: AgentResponse | None = None
    cancel: CancelRequested | None = None
    waiting: RunWaiting | None = None
    finished: RunFinished | None = None
    deleted: bool = False

    def apply(self, step: Step) -> None:
        """Take in the next step. Raises LogGap unless it is the next one."""
        if step.seq != self.next_seq and not isinstance(step, RunDeleted):
            raise LogGap(f"run {step.run_id}: step {step.seq} came where {self.next_seq} was due")
        self.next_seq = step.seq + 1
        match step:
            case RunRequested():
                self.request = step
            case RunClaimed():
                self.attempt = step.attempt
                self.status, self.waiting = RunStatus.RUNNING, None
                self.started_at = self.started_at or step.at
            case UserRequest():
                self.turns.append(step)
            case AgentThought():
                self._thought(step)
            case ToolCall():
                self.open_calls[step.call_id] = step
                self.tool_calls += 1
            case ToolResult():
                self._result(step)
            case AgentResponse():
                self.turns.append(step)
                self.response = step
                self._model_call(step.model_call)
            case RunWaiting():
                self.status, self.waiting = RunStatus.WAITING, step
            case CancelRequested():
                self.cancel = self.cancel or step
            case RunFinished():
                self.status, self.finished, self.finished_at = step.status, step, step.at
            case RunDeleted():
                self.deleted = True

    def _thought(self, step: AgentThought) -> None:
        self.turns.append(step)
        self.call_ids.update(call.call_id for call in step.tool_calls)
        self.corrections, self.corrected = (self.corrections if self.corrected else 0), False
        self.rounds += 1
        self._model_call(step.model_call)

    def _result(self, step: ToolResult) -> None:
        self.turns.append(step)
        self.open_calls.pop(step.call_id, None)
        if step.error_type in {"unknown-tool", "invalid-arguments"} and not self.corrected:
            self.corrections += 1
            self.corrected = True

    def _model_call(self, call: ModelCall) -> None:
        self.model_calls += 1
        self.usage += call.usage


def fold(steps: Iterable[Step]) -> RunState:
    """The state of a run after these steps, which must be its first ones. Raises LogGap."""
    state = RunState()
    for step in steps:
        state.apply(step)
    return state
