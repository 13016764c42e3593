"""What a run's steps add up to: the pure fold that runner and gateway share. No I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.errors import StudioError
from shared.ledger import MODEL, Ledger
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentResponse,
    AgentSnapshot,
    AgentThought,
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    BudgetRaised,
    CancelRequested,
    ConversationStep,
    Effect,
    OutcomeResolved,
    RunClaimed,
    RunDeleted,
    RunFinished,
    RunRequested,
    RunRetried,
    RunStatus,
    RunVerified,
    RunWaiting,
    SpendReserved,
    Step,
    ToolCall,
    ToolResult,
    Usage,
    UserRequest,
)

Turn = UserRequest | AgentThought | ToolResult | AnswerRejected | AgentResponse
"""The steps that are messages of the conversation, in order."""


RUNS = "runs"
"""The unit of a result that other runs brought: how many they were."""


class LogGap(StudioError):
    """The steps of a run do not follow one another; the log is not what the writers left."""


@dataclass(frozen=True)
class Decided:
    """A call that a person was asked about, and the answer."""

    asked: ApprovalRequested
    resolved: ApprovalResolved


@dataclass
class RunState:
    """The fold of a run's steps up to `next_seq`.

    `corrections` counts the thoughts in a row that held an unusable tool call, `rejections` the answers in a
    row that did not fit. `open_calls` are the intents without a result, `asked` the calls that wait for a
    person, `decided` those that were answered but not acted upon. `active_since` is when the run would have
    begun if it had never waited for anybody; `rounds_before` are those of before it was retried.
    `fruitless_claims` counts the claims in a row after which nothing came of the run; `settled_in` is the
    claim in which the last irreversible call got its result; `ledger` is None for a run without a budget.
    `callers` says which agent made each call; `runs` counts those that calls have started, with theirs.
    `missed` is the result of a call that a replay had no answer to and might not make; `copied` are the seqs
    of the source's steps that a replay has taken over so far.
    """

    request: RunRequested | None = None
    next_seq: int = 0
    attempt: int = 0
    status: RunStatus = RunStatus.QUEUED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    turns: list[Turn] = field(default_factory=list)
    open_calls: dict[str, ToolCall] = field(default_factory=dict)
    asked: dict[str, ApprovalRequested] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)
    outcomes: dict[str, OutcomeResolved] = field(default_factory=dict)
    agent: AgentRef | None = None
    active_since: datetime | None = None
    rejections: int = 0
    fruitless_claims: int = 0
    settled_in: int = 0
    rounds_before: int = 0
    callers: dict[str, AgentRef | None] = field(default_factory=dict)
    runs: int = 0
    corrections: int = 0
    corrected: bool = False
    rounds: int = 0
    tool_calls: int = 0
    model_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    ledger: Ledger | None = None
    response: AgentResponse | None = None
    cancel: CancelRequested | None = None
    waiting: RunWaiting | None = None
    verified: RunVerified | None = None
    finished: RunFinished | None = None
    missed: ToolResult | None = None
    copied: set[int] = field(default_factory=set)
    deleted: bool = False

    def apply(self, step: Step) -> None:
        """Take in the next step. Raises LogGap unless it is the next one."""
        if step.seq != self.next_seq and not isinstance(step, RunDeleted):
            raise LogGap(f"run {step.run_id}: step {step.seq} came where {self.next_seq} was due")
        self.next_seq = step.seq + 1
        if isinstance(step, ConversationStep) and step.copied_from is not None:
            self.copied.add(step.copied_from)
        match step:
            case RunRequested():
                self.request, self.agent, self.ledger = step, step.agent, Ledger.of(step)
            case RunClaimed():
                self._claimed(step)
            case UserRequest():
                self.turns.append(step)
            case AgentThought():
                self._thought(step)
            case ToolCall():
                self.open_calls[step.call_id] = step
                self.decided.pop(step.call_id, None)
                self.tool_calls += 1
            case ToolResult():
                self._result(step)
            case AgentResponse():
                self.fruitless_claims = 0
                self.turns.append(step)
                self.response = step
                self._model_call(step)
            case AnswerRejected():
                self.fruitless_claims = 0
                self.turns.append(step)
                self.rejections += 1
                self._model_call(step)
            case ApprovalRequested():
                self.asked[step.call_id] = step
            case ApprovalResolved():
                self._approval(step)
            case OutcomeResolved():
                self.outcomes[step.call_id] = step
            case AgentChanged():
                self.agent = step.agent
            case RunWaiting():
                self.fruitless_claims = 0
                self.status, self.waiting = RunStatus.WAITING, step
            case CancelRequested():
                self.cancel = self.cancel or step
            case SpendReserved():
                if self.ledger is not None:
                    self.ledger.reserve(step)
            case BudgetRaised():
                if self.ledger is not None:
                    self.ledger.raised(step)
            case RunVerified():
                self.verified = step
            case RunFinished():
                self._finished(step)
            case RunRetried():
                self._retried()
            case RunDeleted():
                self.deleted = True

    @property
    def runs_left(self) -> int:
        """How many runs its calls may still start, with all that those start."""
        if self.request is None:
            return 0
        away = sum(call.most_runs or 0 for call in self.open_calls.values())
        return max(0, self.request.most_runs - 1 - self.runs - away)

    def _claimed(self, step: RunClaimed) -> None:
        if self.waiting is not None and self.active_since is not None:
            self.active_since += max(step.at - self.waiting.at, timedelta())
        self.attempt = step.attempt
        self.fruitless_claims += 1
        self.status, self.waiting = RunStatus.RUNNING, None
        self.started_at = self.started_at or step.at
        self.active_since = self.active_since or step.at
        if self.ledger is not None:  # the runner before may have called the model and died
            self.ledger.lose(MODEL)

    def _finished(self, step: RunFinished) -> None:
        self.status, self.finished, self.finished_at = step.status, step, step.at
        if self.ledger is not None:
            self.ledger.ended(step.error)

    def _approval(self, step: ApprovalResolved) -> None:
        asked = self.asked.get(step.call_id)
        if asked is not None and asked.arguments_hash == step.arguments_hash:
            self.decided[step.call_id] = Decided(self.asked.pop(step.call_id), step)

    def _retried(self) -> None:
        """From the last good step on: the end, and an answer that was none, are as if they had not been."""
        self.status, self.finished, self.finished_at, self.cancel = RunStatus.QUEUED, None, None, None
        if self.response is not None:
            self.turns.remove(self.response)
        self.response, self.active_since, self.missed = None, None, None
        self.corrections, self.corrected, self.rejections = 0, False, 0
        self.rounds_before = self.rounds

    def _thought(self, step: AgentThought) -> None:
        self.fruitless_claims = 0
        self.turns.append(step)
        self.callers.update((call.call_id, self.agent) for call in step.tool_calls)
        self.corrections, self.corrected = (self.corrections if self.corrected else 0), False
        self.rounds += 1
        self._model_call(step)

    def _result(self, step: ToolResult) -> None:
        self.fruitless_claims = 0
        self.turns.append(step)
        call = self.open_calls.pop(step.call_id, None)
        if call is not None and call.effect is Effect.IRREVERSIBLE:
            self.settled_in = step.attempt
        self.runs += int(step.units.get(RUNS, 0))
        self.missed = step if step.error_type == "not-recorded" else self.missed
        self.decided.pop(step.call_id, None)
        if self.ledger is not None:
            self.ledger.answered(step)
        if step.error_type in {"unknown-tool", "invalid-arguments"} and not self.corrected:
            self.corrections += 1
            self.corrected = True

    def _model_call(self, step: AgentThought | AnswerRejected | AgentResponse) -> None:
        if step.copied_from is not None:
            return
        self.model_calls += 1
        self.usage += step.model_call.usage
        if self.ledger is not None:
            self.ledger.called(step.model_call)


def fold(steps: Iterable[Step]) -> RunState:
    """The state of a run after these steps, which must be its first ones. Raises LogGap."""
    state = RunState()
    for step in steps:
        state.apply(step)
    return state


def agent_of(request: RunRequested, ref: AgentRef | None) -> AgentSnapshot:
    """The agent that goes on with the run. Raises LookupError for one that the snapshot does not hold."""
    if ref is None or ref == request.agent:
        return AgentSnapshot(
            ref=request.agent,
            model=request.model,
            instructions=request.instructions,
            parameters=request.parameters,
            tools=request.tools,
            response_format=request.response_format,
        )
    for agent in request.agents:
        if agent.ref == ref:
            return agent
    raise LookupError(f"the run knows no agent {ref.name}@{ref.version}")
