"""The examples in the API's description: one small run, made by the very models that answer for real runs."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from services.gateway.cursor import encode_cursor
from services.gateway.simple_views import simple_detail, simple_run
from services.gateway.views import Cost, RunDetail, RunList, StepList, view_of
from shared.preview import Shown
from shared.run_state import fold
from shared.steps import (
    AgentRef,
    AgentResponse,
    ModelCall,
    Parameters,
    RunClaimed,
    RunFinished,
    RunRequested,
    RunStatus,
    Step,
    Usage,
    UserRequest,
)

RUN_ID: Final = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"
PROMPT: Final = "What is 5 + 10, then multiply by 3?"
ANSWER: Final = "The result is 45."
MODEL: Final = "mistral-large-latest"
AT: Final = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


def _envelope(seq: int) -> dict[str, Any]:
    return {"run_id": RUN_ID, "seq": seq, "at": AT, "project": "default", "writer": "3f6c2a9d41b7"}


CALL: Final = ModelCall(asked=MODEL, answered=MODEL, request_hash="0" * 64, usage=Usage(input=120, output=8))
STEPS: Final[tuple[Step, ...]] = (
    RunRequested(
        **_envelope(0),
        agent=AgentRef(name="assistant"),
        model=MODEL,
        instructions="Answer briefly.",
        prompt=PROMPT,
        parameters=Parameters(temperature=0.6, max_tokens=2048),
    ),
    RunClaimed(**_envelope(1), attempt=1, runner="runner-1"),
    UserRequest(**_envelope(2), attempt=1, content=PROMPT),
    AgentResponse(**_envelope(3), attempt=1, content=ANSWER, model_call=CALL),
    RunFinished(**_envelope(4), attempt=1, status=RunStatus.COMPLETED),
)
VIEW: Final = view_of(
    fold(STEPS), Shown(PROMPT), Shown(ANSWER), Cost(usd=Decimal("0.000288"), unpriced=0, charged=1)
)


def _json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


ACCEPTED: Final = {"run_id": RUN_ID, "status": "queued"}
RUN: Final = _json(VIEW)
RUN_DETAIL: Final = _json(RunDetail(**dict(VIEW), steps=STEPS, next_after=None))
RUN_LIST: Final = _json(RunList(items=(VIEW,), next_cursor=encode_cursor(RUN_ID)))
STEP_LIST: Final = _json(StepList(items=STEPS[1:3], next_after=2))
SIMPLE_RUN: Final = _json(simple_run(VIEW))
SIMPLE_DETAIL: Final = _json(simple_detail(VIEW, STEPS))
SIMPLE_ANSWER: Final = {"run_id": RUN_ID, "response": ANSWER, "total_tokens": 128, "total_cost": 0.000288}
CHAT_ANSWER: Final = {"response": ANSWER, "run_id": RUN_ID}
TOOL_LIST: Final = {
    "items": [
        {
            "name": "calculator",
            "display_name": "Calculator",
            "description": "Computes an arithmetic expression.",
            "icon": "calculator",
            "effect": "pure",
            "needs_approval": False,
            "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
            "timeout_s": 5.0,
        }
    ]
}
MODEL_LIST: Final = {"provider": "simulator", "default": MODEL, "items": [MODEL, "mistral-small-latest"]}
TICKET: Final = {"ticket": "aos_ticket_eyJwcm9qZWN0IjoiZGVmYXVsdCJ9…", "expires_in": 30}
EVENTS: Final = f"""\
id: 3
event: step
data: {STEPS[3].model_dump_json()}

event: delta
data: {{"type": "delta", "text": "The res"}}

event: end
data: {VIEW.model_dump_json()}
"""
