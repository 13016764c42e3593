"""One step in words: what it says, and the facts about it. The same wherever a step is shown."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from rich.text import Text

from shared.steps import (
    AgentChanged,
    AgentResponse,
    AgentThought,
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    BodyRef,
    BudgetRaised,
    CancelRequested,
    MemorySnapshot,
    ModelCall,
    OutcomeResolved,
    RequestedToolCall,
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
    UserRequest,
)
from studio.terminal.amounts import counted, duration, tokens
from studio.terminal.text import one_line, plain

STATUS_STYLES: Final[dict[str, str]] = {
    RunStatus.QUEUED: "blue",
    RunStatus.RUNNING: "cyan",
    RunStatus.WAITING: "yellow",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "yellow",
}
KIND_STYLES: Final[dict[str, str]] = {
    "agent-thought": "cyan",
    "tool-call": "magenta",
    "tool-result": "magenta",
    "agent-response": "bold",
    "cancel-requested": "yellow",
    "run-waiting": "yellow",
    "budget-raised": "yellow",
    "approval-requested": "yellow",
}
WANTED: Final[dict[str, str]] = {
    "approval": "a decision: `studio approve {0}` or `studio deny {0}`",
    "unknown-outcome": "word about what became of a call: `studio settle {0} OUTCOME`",
    "budget": "a higher budget: `studio resume {0} --budget USD`",
}
"""What a person does about a run that waits, by the reason."""
LONG: Final = 400
SHORT: Final = 100


@dataclass(frozen=True)
class Words:
    """`says` may have several lines; `facts` are short and stand behind it. Neither need be fit to be shown:
    that is seen to here, once for all."""

    says: str
    facts: tuple[str, ...] = ()
    style: str = ""

    def text(self) -> Text:
        """All of it."""
        return self._with_facts(self.says)

    def short(self) -> Text:
        """The beginning, on one line."""
        return self._with_facts(one_line(self.says, SHORT))

    def _with_facts(self, says: str) -> Text:
        facts = " · ".join(map(plain, filter(None, self.facts)))
        return Text.assemble((plain(says), self.style), "  " if says and facts else "", (facts, "dim"))


def kind_style(step: Step) -> str:
    return STATUS_STYLES[step.status] if isinstance(step, RunFinished) else KIND_STYLES.get(step.kind, "dim")


def step_words(step: Step) -> Words:
    """What a step says."""
    match step:
        case RunRequested():
            facts = (f"{step.agent.name} v{step.agent.version}", step.model, counted(len(step.tools), "tool"))
            return Words(one_line(words(step.prompt), LONG), facts)
        case RunClaimed():
            attempt = (f"attempt {step.attempt}",) if step.attempt > 1 else ()
            return Words(f"by {step.runner}", attempt)
        case UserRequest():
            return Words(one_line(words(step.content), LONG))
        case AgentThought():
            dropped = [counted(step.dropped_calls, "call") + " too many"] if step.dropped_calls else []
            calls = ", ".join([*map(_wanted, step.tool_calls), *dropped])
            said = one_line(words(step.content), LONG)
            return Words(
                f"{said}\ncalls {calls}" if said else f"calls {calls}", _model_facts(step.model_call)
            )
        case AgentResponse():
            return Words(words(step.content).strip(), _model_facts(step.model_call), "bold")
        case RunFinished():
            return _ending(step)
        case ToolCall() | ToolResult():
            return _tool_words(step)
    return _other_words(step)


def _tool_words(step: ToolCall | ToolResult) -> Words:
    if isinstance(step, ToolCall):
        return Words(f"{step.tool} {one_line(words(step.arguments), LONG)}", (step.effect.value,))
    status = f"{step.status}: {step.error_type}" if step.error_type else step.status
    says = f"{step.tool} = {one_line(words(step.result), LONG)}"
    return Words(says, (status, duration(step.latency_ms / 1000)), "" if step.status == "ok" else "red")


def _ending(step: RunFinished) -> Words:
    facts = (counted(step.totals.rounds, "round"), counted(step.totals.tool_calls, "tool call"))
    why = f": {step.error.type}: {step.error.message}" if step.error else ""
    return Words(f"{step.status}{why}", facts, STATUS_STYLES[step.status])


def _other_words(step: Step) -> Words:
    match step:
        case MemorySnapshot():
            return Words(_memory(step.memory))
        case CancelRequested():
            return Words(f"by {step.who}" + (f": {one_line(words(step.why))}" if step.why else ""))
        case RunWaiting():
            return Words(f"for {step.reason}" + (f": {step.why}" if step.why else ""))
        case SpendReserved():
            return Words(f"{step.usd:f} USD at most", (step.call_id or "",))
        case BudgetRaised():
            return Words(f"to {step.budget_usd:g} USD by {step.who}")
        case ApprovalRequested():
            return Words(f"{step.tool} {one_line(words(step.arguments), LONG)}", (step.effect.value,))
        case ApprovalResolved():
            instead = one_line(words(step.arguments), LONG) if step.arguments is not None else ""
            return Words(f"{step.decision} by {step.who}", (one_line(words(step.note)), instead))
        case OutcomeResolved():
            return Words(f"{step.decision} by {step.who}", (one_line(words(step.note)),))
        case AgentChanged():
            return Words(f"to {step.agent.name} v{step.agent.version}")
        case AnswerRejected():
            return Words(one_line(step.problem, LONG), _model_facts(step.model_call), "yellow")
        case RunVerified():
            return _verified(step)
        case RunRetried():
            return Words(f"by {step.who}" + (f": {one_line(words(step.why))}" if step.why else ""))
        case RunDeleted():
            return Words(f"by {step.who}")
    # A kind of step that this version does not know: its fields as they came.
    return Words(one_line(words(step.model_extra or {}), LONG))


def _verified(step: RunVerified) -> Words:
    facts = (counted(step.steps, "step"), counted(step.model_calls, "model call"))
    if step.divergence is None:
        return Words("equal", facts, "green")
    apart = f"parts at step {step.divergence.step}: {step.divergence.cause} {step.divergence.path}"
    return Words(one_line(apart, LONG), facts, "red")


def _memory(memory: JsonValue) -> str:
    """A runner's memory holds messages and notes; anything else is shown as it is."""
    match memory:
        case {"messages": [*messages], "notes": {**notes}}:
            return f"{counted(len(messages), 'message')}, {counted(len(notes), 'note')}"
    return one_line(words(memory), 80)


def _wanted(call: RequestedToolCall) -> str:
    return f"{call.tool} {one_line(words(call.arguments), LONG)}"


def _model_facts(call: ModelCall) -> tuple[str, ...]:
    return tuple(_facts(call))


def _facts(call: ModelCall) -> Iterator[str]:
    yield call.answered
    yield duration(call.latency_ms / 1000)
    yield tokens(call.usage)
    if call.attempts:
        yield f"{len(call.attempts)} {'retry' if len(call.attempts) == 1 else 'retries'}"
    if call.finish_reason not in (None, "stop", "tool_calls"):
        yield f"ended by {call.finish_reason}"


def words(value: JsonValue | BodyRef) -> str:
    """A value as text: a string as it is, a large body by its size, all else as JSON."""
    match value:
        case str():
            return plain(value)
        case BodyRef():
            return f"[{value.size:,} bytes, stored as {value.sha256[:12]}]"
    return plain(json.dumps(value, ensure_ascii=False))


def wanted(reason: str, run_id: str) -> str:
    """What a run waits for, and the command that brings it."""
    return WANTED.get(reason, reason).format(run_id[-8:])


def retry_words(status: int | None, error: str, wait_s: float) -> str:
    """A failed try of a model call."""
    what = f"HTTP {status}" if status is not None else "no answer"
    return f"{what}{f': {one_line(error)}' if error else ''}; next try after {duration(wait_s)}"
