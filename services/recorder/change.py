"""What some steps of a run change in its row of `runs`: sums, extremes, and the latest of its kind.

Adding is commutative, so the same steps in any order are the same change. How a change meets the row is
in `store/runs.py`. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from services.recorder.references import Texts, shown_in
from shared.steps import (
    AgentResponse,
    AgentThought,
    AnswerRejected,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunRetried,
    RunStatus,
    RunWaiting,
    Step,
    ToolCall,
)


@dataclass(slots=True)
class RunChange:
    """Fields are named as the columns; -1 stands for the place of a step that has not come."""

    run_id: str
    project: str
    status: str = RunStatus.QUEUED.value
    status_seq: int = -1
    agent: str | None = None
    agent_version: int | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_body: str | None = None
    response: str | None = None
    response_body: str | None = None
    response_seq: int = -1
    session_id: str | None = None
    user_id: str | None = None
    group_name: str | None = None
    metadata: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    last_seq: int = -1
    steps: int = 0
    attempt: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    rounds: int = 0
    error: str | None = None
    waiting_reason: str | None = None
    waiting_until: datetime | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    replay_id: str | None = None
    source_run_id: str | None = None
    replay: str | None = None

    def add(self, step: Step, texts: Texts) -> None:
        """Take in a step; each step once. `texts` holds the bodies of large prompts and responses."""
        self.steps += 1
        self.last_seq = max(self.last_seq, step.seq)
        self.attempt = max(self.attempt, step.attempt)
        take_in = _TAKE_IN.get(type(step))
        if take_in is not None:
            take_in(self, step, texts)

    def _requested(self, step: RunRequested, texts: Texts) -> None:
        self._status(step, RunStatus.QUEUED)
        self.agent, self.agent_version, self.model = step.agent.name, step.agent.version, step.model
        self.prompt, self.prompt_body = shown_in(step.prompt, step.project, texts)
        self.session_id, self.user_id, self.group_name = step.session_id, step.user_id, step.group
        self.metadata = to_json(step.metadata, inf_nan_mode="strings").decode()
        self.created_at = step.at
        self.parent_run_id, self.root_run_id = step.parent_run_id, step.root_run_id
        if (plan := step.replay) is not None and step.parent_run_id is None:  # else the asking run's
            self.replay_id, self.source_run_id = plan.replay_id, plan.source_run_id
            self.replay = plan.model_dump_json()

    def _claimed(self, step: RunClaimed, _: Texts) -> None:
        self.started_at = min(self.started_at or step.at, step.at)
        self._status(step, RunStatus.RUNNING)

    def _thought(self, step: AgentThought, _: Texts) -> None:
        self.rounds += 1
        self._model_call(step)

    def _tool_call(self, _: ToolCall, __: Texts) -> None:
        self.tool_calls += 1

    def _responded(self, step: AgentResponse, texts: Texts) -> None:
        self._model_call(step)
        if step.seq > self.response_seq:
            self.response_seq = step.seq
            self.response, self.response_body = shown_in(step.content, step.project, texts)

    def _rejected(self, step: AnswerRejected, _: Texts) -> None:
        self._model_call(step)

    def _waiting(self, step: RunWaiting, _: Texts) -> None:
        if self._status(step, RunStatus.WAITING):
            self.waiting_reason, self.waiting_until = step.reason, step.until

    def _retried(self, step: RunRetried, _: Texts) -> None:
        self._status(step, RunStatus.QUEUED)

    def _finished(self, step: RunFinished, _: Texts) -> None:
        if self._status(step, step.status):
            self.finished_at = step.at
            self.error = step.error.model_dump_json() if step.error else None

    def _status(self, step: Step, status: RunStatus) -> bool:
        """Whether this step is the latest so far that says in which state the run is."""
        if step.seq <= self.status_seq:
            return False
        self.status, self.status_seq = status.value, step.seq
        self.finished_at = self.error = self.waiting_reason = self.waiting_until = None
        return True

    def _model_call(self, step: AgentThought | AnswerRejected | AgentResponse) -> None:
        if step.copied_from is not None:  # a replay took the answer from its source
            return
        call = step.model_call
        self.model_calls += 1
        self.input_tokens += call.usage.input
        self.cached_input_tokens += call.usage.cached_input
        self.output_tokens += call.usage.output
        self.reasoning_tokens += call.usage.reasoning


# By exact type: asking whether a step is an instance of one kind after another takes longer than the rest.
_TAKE_IN: Final[dict[type, Callable[[RunChange, Any, Texts], None]]] = {
    RunRequested: RunChange._requested,
    RunClaimed: RunChange._claimed,
    AgentThought: RunChange._thought,
    ToolCall: RunChange._tool_call,
    AgentResponse: RunChange._responded,
    AnswerRejected: RunChange._rejected,
    RunWaiting: RunChange._waiting,
    RunFinished: RunChange._finished,
    RunRetried: RunChange._retried,
}
