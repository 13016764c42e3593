"""A small run's steps, and the frames in which a stream sends them."""

from datetime import UTC, datetime, timedelta

from shared.step_codec import encode_step
from shared.steps import (
    AgentRef,
    AgentResponse,
    AgentThought,
    Effect,
    ModelCall,
    RequestedToolCall,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    Step,
    ToolCall,
    ToolResult,
    Usage,
    UserRequest,
)

RUN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
BEGIN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CALL = ModelCall(
    asked="mistral-large-latest",
    answered="mistral-large-2512",
    request_hash="0" * 64,
    usage=Usage(input=100, output=20),
    latency_ms=400,
)


def run_steps() -> list[Step]:
    """A run of eight steps that asks the calculator once."""

    def envelope(seq: int) -> dict[str, object]:
        at = BEGIN + timedelta(milliseconds=250 * seq)
        return {"run_id": RUN_ID, "seq": seq, "at": at, "project": "default", "writer": "test"}

    def step(kind: type[Step], seq: int, **fields: object) -> Step:
        return kind.model_validate({**envelope(seq), **fields})

    wish = RequestedToolCall(call_id="c1", tool="calculator", arguments='{"expression": "(5 + 10) * 3"}')
    return [
        step(
            RunRequested,
            0,
            agent=AgentRef(name="assistant"),
            model="mistral-large-latest",
            prompt="How much?",
        ),
        step(RunClaimed, 1, runner="runner-1"),
        step(UserRequest, 2, content="How much?"),
        step(AgentThought, 3, tool_calls=(wish,), model_call=CALL),
        step(
            ToolCall,
            4,
            call_id="c1",
            tool="calculator",
            arguments={"expression": "(5 + 10) * 3"},
            effect=Effect.PURE,
            idempotency_key="k1",
        ),
        step(ToolResult, 5, call_id="c1", tool="calculator", status="ok", result="45", latency_ms=3),
        step(AgentResponse, 6, content="The answer is 45.", model_call=CALL),
        step(RunFinished, 7, status=RunStatus.COMPLETED),
    ]


def frame(step: Step) -> str:
    return f"id: {step.seq}\nevent: step\ndata: {encode_step(step).decode()}\n\n"


END = f'event: end\ndata: {{"run_id": "{RUN_ID}", "status": "completed"}}\n\n'
HEARTBEAT = ": heartbeat\n\n"
