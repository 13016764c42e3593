"""Runs for the recorder's tests: whole ones, and any that hypothesis can think of."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

from hypothesis import strategies as st

from shared.steps import (
    AgentResponse,
    AgentThought,
    CancelRequested,
    Effect,
    Failure,
    MemorySnapshot,
    RunDeleted,
    RunFinished,
    RunStatus,
    RunWaiting,
    Step,
    ToolCall,
    UnknownStep,
    Usage,
    UserRequest,
)
from shared.subjects import RunKey
from tests.support.steps import AT, call, claimed, make, model_call, new_key, requested, result


def whole_run(key: RunKey, *, tools: int = 2) -> list[Step]:
    """A completed run with as many rounds of one tool call each."""
    seq = count(3)
    steps: list[Step] = [
        requested(key, session_id="s-1", group="g-1", metadata={"team": "blue"}),
        claimed(key, 1, at=AT + timedelta(seconds=1)),
        make(UserRequest, key, 2, content="What is 5 + 10?"),
    ]
    for n in range(tools):
        call_id = f"call{n:05}"
        steps += [
            _thought(key, next(seq), call_id),
            _intent(key, next(seq), call_id),
            result(key, next(seq), {"value": 15}, call_id=call_id, latency_ms=7),
        ]
    answer = model_call(usage=Usage(input=70, cached_input=20, output=9, reasoning=4))
    return [
        *steps,
        make(AgentResponse, key, next(seq), content="It is 15.", model_call=answer, at=AT),
        make(MemorySnapshot, key, next(seq), memory={"notes": ["15"]}),
        make(RunFinished, key, next(seq), status=RunStatus.COMPLETED, at=AT + timedelta(seconds=9)),
    ]


def deletion(steps: list[Step]) -> RunDeleted:
    """The step that erases the run of these steps."""
    key = RunKey(steps[0].project, steps[0].run_id)
    return make(RunDeleted, key, len(steps), who="tester", at=AT + timedelta(minutes=1))


def unknown(key: RunKey, seq: int) -> UnknownStep:
    """A step of a kind that only a newer version knows."""
    fields = {"run_id": key.run_id, "project": key.project, "seq": seq, "at": AT, "writer": "test"}
    return UnknownStep.model_validate({**fields, "kind": "not-yet-invented", "colour": "blue"})


@st.composite
def runs(draw: st.DrawFn) -> list[Step]:
    """A log that could be: gap-free, with claims, rounds, waits and perhaps an end."""
    key = new_key()
    seq = count(1)
    steps: list[Step] = [requested(key, session_id=draw(st.sampled_from([None, "s-1"])))]
    for _ in range(draw(st.integers(0, 3))):
        steps.append(_claim(key, next(seq), draw(st.integers(0, 50))))
        for _ in range(draw(st.integers(0, 2))):
            usage = Usage(input=draw(st.integers(0, 10**6)), output=draw(st.integers(0, 9)))
            call_id = f"call{next(seq):05}"
            steps.append(_thought(key, len(steps), call_id, usage))
            steps.append(_intent(key, len(steps), call_id))
        steps.append(make(RunWaiting, key, len(steps), reason="approval", at=AT))
    steps += draw(st.lists(st.sampled_from(_extras(key)), max_size=2))
    if draw(st.booleans()):
        steps.append(make(AgentResponse, key, 0, content="done", model_call=model_call()))
        steps.append(_end(key, draw(st.sampled_from(list(RunStatus)))))
    return [step.model_copy(update={"seq": place}) for place, step in enumerate(steps)]


@st.composite
def deliveries(draw: st.DrawFn, steps: list[Step]) -> list[list[Step]]:
    """These steps, some more than once, in any order, cut into batches in any way."""
    again = draw(st.lists(st.sampled_from(steps), max_size=len(steps)))
    order = draw(st.permutations([*steps, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=4)))
    return [batch for batch in _cut(order, cuts) if batch]


def _cut(order: list[Step], cuts: list[int]) -> Iterator[list[Step]]:
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        yield order[start:end]


def _claim(key: RunKey, seq: int, second: int) -> Step:
    return claimed(key, seq, attempt=seq, at=AT + timedelta(seconds=second))


def _thought(key: RunKey, seq: int, call_id: str, usage: Usage | None = None) -> AgentThought:
    answer = model_call(usage=usage or Usage(input=40, cached_input=10, output=6, reasoning=2))
    return make(AgentThought, key, seq, tool_calls=(call("calculator", call_id=call_id),), model_call=answer)


def _intent(key: RunKey, seq: int, call_id: str) -> ToolCall:
    fields = {
        "arguments": {"value": 1.0},
        "effect": Effect.PURE,
        "idempotency_key": f"{key.run_id}:{call_id}",
    }
    return make(ToolCall, key, seq, call_id=call_id, tool="calculator", **fields)


def _extras(key: RunKey) -> list[Step]:
    return [
        make(CancelRequested, key, 0, who="tester"),
        unknown(key, 0),
    ]


def _end(key: RunKey, status: RunStatus) -> RunFinished:
    final = status if status.is_final else RunStatus.FAILED
    error = Failure(type="test", message="broken") if final is RunStatus.FAILED else None
    return make(RunFinished, key, 0, status=final, error=error, at=AT + timedelta(minutes=2))
