"""Steps and runs for tests: real models with values that are short to write."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import uuid_utils

from shared.run_state import RunState, fold
from shared.steps import (
    AgentRef,
    Effect,
    Envelope,
    ModelCall,
    RequestedToolCall,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    Step,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from shared.subjects import RunKey

S = TypeVar("S", bound=Envelope)
AT = datetime(2026, 11, 20, 8, 30, 0, 123456, tzinfo=UTC)
PROJECT = "default"


def new_key(project: str = PROJECT) -> RunKey:
    return RunKey(project, str(uuid_utils.uuid7()))


def make(kind: type[S], key: RunKey, seq: int, **fields: Any) -> S:
    """A step of the kind with the envelope filled in."""
    envelope = {"run_id": key.run_id, "project": key.project, "seq": seq, "at": AT, "writer": "test"}
    return kind(**{**envelope, **fields})


def requested(key: RunKey, **fields: Any) -> RunRequested:
    given = {"agent": AgentRef(name="helper"), "model": "mistral-large-latest", "prompt": "What is 5 + 10?"}
    return make(RunRequested, key, 0, **{**given, **fields})


def claimed(key: RunKey, seq: int, **fields: Any) -> RunClaimed:
    return make(RunClaimed, key, seq, **{"attempt": 1, "runner": "runner-1", **fields})


def result(key: RunKey, seq: int, value: Any, **fields: Any) -> ToolResult:
    given = {"call_id": "call00001", "tool": "calculator", "status": "ok", "result": value}
    return make(ToolResult, key, seq, **{**given, **fields})


def model_call(**fields: Any) -> ModelCall:
    given = {"asked": "mistral-large-latest", "answered": "mistral-large-2411", "request_hash": "0" * 64}
    return ModelCall(**{**given, "usage": Usage(input=10, output=5), **fields})


def tool_spec(name: str, effect: Effect = Effect.PURE) -> ToolSpec:
    parameters: dict[str, Any] = {"type": "object", "properties": {"value": {"type": "integer"}}}
    return ToolSpec(name=name, description=f"The tool {name}.", parameters=parameters, effect=effect)


def call(tool: str, arguments: str = '{"value": 1}', call_id: str = "") -> RequestedToolCall:
    return RequestedToolCall(call_id=call_id, tool=tool, arguments=arguments)


def only(steps: Sequence[Step], kind: type[S]) -> list[S]:
    return [step for step in steps if isinstance(step, kind)]


def check_history(steps: Sequence[Step]) -> RunState:
    """What holds for the log of every run that has ended, whatever happened on the way."""
    state = fold(steps)  # raises on a gap
    assert [step.seq for step in steps] == list(range(len(steps)))
    finished = only(steps, RunFinished)
    assert len(finished) == 1, f"{len(finished)} ends: {[step.kind for step in steps]}"
    intents = [step.call_id for step in only(steps, ToolCall)]
    results = [step.call_id for step in only(steps, ToolResult)]
    assert len(set(intents)) == len(intents), f"an intent twice: {intents}"
    assert len(set(results)) == len(results), f"a result twice: {results}"
    denied = {step.call_id for step in only(steps, ToolResult) if step.status == "denied"}
    assert set(results) <= set(intents) | denied, "a result without its intent"
    if state.finished is not None and state.finished.status == RunStatus.COMPLETED:
        assert set(results) == set(intents) | denied, "a completed run left a call open"
    return state


def conversation(steps: Sequence[Step]) -> list[Mapping[str, Any]]:
    """The steps without what differs between two equal runs: ids, times, numbers of tries, claims."""
    volatile = {
        "at",
        "run_id",
        "seq",
        "writer",
        "attempt",
        "idempotency_key",
        "latency_ms",
        "memory",
        "totals",
    }
    kept = [step for step in steps if step.kind not in {"run-claimed", "run-requested"}]
    return [step.model_dump(mode="json", exclude=volatile) for step in kept]
