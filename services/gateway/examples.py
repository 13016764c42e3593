"""The examples in the API's description: one small run, made by the very models that answer for real runs.

Not here: the examples of problems (`openapi/problem_examples.py`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from services.gateway.cursor import encode_cursor
from services.gateway.simple_views import simple_detail, simple_run
from services.gateway.views import Cost, RunDetail, RunList, StepList, view_of
from shared.catalog import Tool
from shared.preview import Shown
from shared.run_state import fold
from shared.steps import (
    AgentRef,
    AgentResponse,
    AgentThought,
    Effect,
    ModelCall,
    Parameters,
    RequestedToolCall,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    Step,
    ToolCall,
    ToolResult,
    Totals,
    Usage,
    UserRequest,
)

RUN_ID: Final = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"
PROMPT: Final = "What is 5 + 10?"
ANSWER: Final = "The result is 15."
INSTRUCTIONS: Final = "Answer briefly."
MODEL: Final = "mistral-large-latest"
MODELS: Final = (MODEL, "mistral-small-latest")
BODY_SHA256: Final = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
START: Final = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
CALCULATOR: Final = Tool(
    name="calculator",
    display_name="Calculator",
    description="Adds, subtracts, multiplies, divides or raises to a power two numbers.",
    icon="IconCalculator",
    effect=Effect.PURE,
    timeout_s=5.0,
    parameters={
        "additionalProperties": False,
        "properties": {
            "operation": {
                "description": "What to do with x and y; power is x to the power of y.",
                "enum": ["add", "subtract", "multiply", "divide", "power"],
                "type": "string",
            },
            "x": {"description": "First number.", "type": "number"},
            "y": {"description": "Second number.", "type": "number"},
        },
        "required": ["operation", "x", "y"],
        "type": "object",
    },
)


def _at(seq: int, ms: int) -> dict[str, Any]:
    """The envelope of a step, so many milliseconds after the start."""
    at = START + timedelta(milliseconds=ms)
    return {"run_id": RUN_ID, "seq": seq, "at": at, "project": "default", "writer": "3f6c2a9d41b7"}


def _call(request_hash: str, usage: Usage, finish_reason: str, latency_ms: int) -> ModelCall:
    return ModelCall(
        asked=MODEL,
        answered=MODEL,
        request_hash=request_hash,
        usage=usage,
        finish_reason=finish_reason,
        latency_ms=latency_ms,
    )


CALL_ID: Final = "D681PevKs"
ARGUMENTS: Final = {"operation": "add", "x": 5, "y": 10}
FIRST: Final = Usage(input=236, output=18)
SECOND: Final = Usage(input=283, cached_input=192, output=5)
STEPS: Final[tuple[Step, ...]] = (
    RunRequested(
        **_at(0, 0),
        agent=AgentRef(name="assistant"),
        model=MODEL,
        instructions=INSTRUCTIONS,
        prompt=PROMPT,
        parameters=Parameters(temperature=0.6, max_tokens=2048),
        tools=(CALCULATOR.spec,),
    ),
    RunClaimed(**_at(1, 2), attempt=1, runner="runner-1"),
    UserRequest(**_at(2, 2), attempt=1, content=PROMPT),
    AgentThought(
        **_at(3, 664),
        attempt=1,
        content="I add 5 and 10.",
        tool_calls=(
            RequestedToolCall(
                call_id=CALL_ID, tool="calculator", arguments='{"operation": "add", "x": 5, "y": 10}'
            ),
        ),
        model_call=_call(
            "3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea", FIRST, "tool_calls", 661
        ),
    ),
    ToolCall(
        **_at(4, 664),
        attempt=1,
        call_id=CALL_ID,
        tool="calculator",
        arguments=ARGUMENTS,
        effect=Effect.PURE,
        idempotency_key=f"{RUN_ID}:{CALL_ID}",
    ),
    ToolResult(
        **_at(5, 665), attempt=1, call_id=CALL_ID, tool="calculator", status="ok", result="5 + 10 = 15"
    ),
    AgentResponse(
        **_at(6, 989),
        attempt=1,
        content=ANSWER,
        model_call=_call(
            "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35", SECOND, "stop", 322
        ),
    ),
    RunFinished(
        **_at(7, 989),
        attempt=1,
        status=RunStatus.COMPLETED,
        totals=Totals(usage=FIRST + SECOND, rounds=1, tool_calls=1, duration_ms=987),
    ),
)
COST: Final = Cost(usd=Decimal("0.001176"), unpriced=0, charged=2)
VIEW: Final = view_of(fold(STEPS), Shown(PROMPT), Shown(ANSWER), COST)
# The answer to `?wait=` comes before the charges do.
WAITED_VIEW: Final = view_of(fold(STEPS), Shown(PROMPT), Shown(ANSWER), Cost())
RUNNING_VIEW: Final = view_of(fold(STEPS[:3]), Shown(PROMPT), Shown(None), Cost())


@dataclass(frozen=True)
class Example:
    """An answer, and in which case it is given."""

    summary: str
    value: Any


def _of(summary: str, model: BaseModel) -> Example:
    return Example(summary, model.model_dump(mode="json"))


RUN_INPUT: Final = {
    "shortest": Example("Only what must be there", {"prompt": PROMPT}),
    "of-your-own": Example(
        "With instructions, tools and labels of your own",
        {
            "prompt": PROMPT,
            "model": MODEL,
            "instructions": INSTRUCTIONS,
            "tools": ["calculator"],
            "parameters": {"temperature": 0.6, "max_tokens": 2048},
            "session_id": "session-7",
            "user_id": "user-42",
            "group": "nightly",
            "metadata": {"ticket": 1234},
        },
    ),
}
CHAT_INPUT: Final = {"message": Example("One message", {"message": PROMPT, "session_id": "session-7"})}
PROMPT_INPUT: Final = {"prompt": Example("One prompt", {"prompt": PROMPT, "user_id": "user-42"})}
CANCEL_INPUT: Final = {"why": Example("With a reason", {"why": "asked the wrong question"})}

_EVENTS: Final = f"""\
id: 6
event: step
data: {STEPS[6].model_dump_json()}

event: delta
data: {{"type": "delta", "text": "The res"}}

event: end
data: {VIEW.model_dump_json()}
"""
ANSWERS: Final = {
    "accepted": Example("The run waits for a runner", {"run_id": RUN_ID, "status": "queued"}),
    "asked-to-stop": Example("A runner is told to stop", {"run_id": RUN_ID, "status": "running"}),
    "finished-run": _of("The run has finished; charges follow", WAITED_VIEW),
    "running-run": _of("With wait: the run goes on", RUNNING_VIEW),
    "run-list": _of("A page of runs", RunList(items=(VIEW,), next_cursor=encode_cursor(RUN_ID))),
    "run-with-steps": _of("A run with a tool call", RunDetail(**dict(VIEW), steps=STEPS, next_after=None)),
    "step-list": _of("The page behind seq 3", StepList(items=STEPS[4:6], next_after=5)),
    "large-value": Example("A text", "a text of more than 64 KiB …"),
    "events": Example("The last events of a run", _EVENTS),
    "chat-answer": Example("The run completed", {"response": ANSWER, "run_id": RUN_ID}),
    "simple-answer": Example(
        "The run completed and is charged",
        {"run_id": RUN_ID, "response": ANSWER, "total_tokens": VIEW.total_tokens, "total_cost": 0.001176},
    ),
    "simple-runs": Example("One run", [simple_run(VIEW).model_dump(mode="json")]),
    "simple-run": _of("A run with a tool call", simple_detail(VIEW, STEPS)),
    "tools": Example("One of the built-in tools", {"items": [CALCULATOR.model_dump(mode="json")]}),
    "models": Example("The simulator's", {"provider": "simulator", "default": MODEL, "items": list(MODELS)}),
    "ticket": Example(
        "Good for 30 s", {"ticket": "aos_ticket_eyJwcm9qZWN0IjoiZGVmYXVsdCIsImtleV9pZCI6…", "expires_in": 30}
    ),
}
