"""The examples in the API's description: one small run, made by the very models that answer for real runs.

Not here: the examples of problems (`openapi/problem_examples.py`).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from services.gateway.agents import examples as agents
from services.gateway.cursor import encode_cursor
from services.gateway.offers import Offered
from services.gateway.replays import examples as replays
from services.gateway.replays.views import ReplayList, ReplayRunList, ReplaySummary
from services.gateway.requests import RunInput
from services.gateway.simple_views import simple_detail, simple_run
from services.gateway.tools import examples as tools
from services.gateway.tools.views import tool_view
from services.gateway.views import Cost, RunDetail, RunList, StepList, view_of
from services.gateway.waiting import examples as waiting
from services.gateway.webhooks import examples as webhooks
from shared.catalog import Tool
from shared.diff import diff_runs
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
SIGNER: Final = ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "21fe31dfa154a261")
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
OTHER_ID: Final = "019a9f1c-8888-7b7e-9a56-6f4a3c1d2e5f"
_OTHERWISE: Final[dict[int, dict[str, Any]]] = {
    0: {"instructions": "Answer with the number alone."},
    6: {"content": "15"},
}
OTHER_STEPS: Final[tuple[Step, ...]] = tuple(
    step.model_copy(update={"run_id": OTHER_ID, **_OTHERWISE.get(step.seq, {})}) for step in STEPS
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


def _ndjson(*values: Any) -> str:
    return "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)


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
REPLAY_INPUT: Final = {name: Example(*shown) for name, shown in replays.inputs(RUN_ID).items()}
SIMPLE_REPLAY_INPUT: Final = {"cold": Example("At temperature 0", replays.override(RUN_ID))}
AGENT_INPUT: Final = {
    "shortest": Example("Only what must be there", agents.SHORTEST),
    "of-your-own": Example("With most of what an agent may say", {"name": agents.NAME, **agents.GIVEN}),
}
AGENT_DEFINITION: Final = {"changed": Example("All that the new version says", agents.CHANGED)}
HTTP_TOOL_INPUT: Final = {
    "shortest": Example("Only what must be there", tools.SHORTEST_TOOL),
    "of-your-own": Example("With arguments in path and query", tools.TOOL),
}
TOOL_CHANGE: Final = {"off": Example("Switched off, and with approval when it is on again", tools.CHANGE)}
MCP_SERVER_INPUT: Final = {"shortest": Example("All of its tools", tools.SERVER)}
MCP_SERVER_CHANGE: Final = {"narrow": Example("One tool of it", tools.SERVER_CHANGE)}
_CALCULATOR: Final = tool_view(Offered(CALCULATOR))
WEBHOOK_INPUT: Final = {
    "shortest": Example("All events", webhooks.SHORTEST),
    "of-your-own": Example("Only what calls for somebody", webhooks.GIVEN),
}
APPROVAL_INPUT: Final = {
    "approve": Example("Make the call as it is", waiting.APPROVE),
    "edit": Example("Make it with other arguments", waiting.EDIT),
    "deny": Example("Do not make it", waiting.DENY),
}
OUTCOME_INPUT: Final = {
    "happened": Example("The call was made, and gave this", waiting.HAPPENED),
    "did-not-happen": Example("The call was not made: make it", waiting.DID_NOT_HAPPEN),
}
RESUME_INPUT: Final = {"budget": Example("With a higher budget", waiting.RESUME)}
WHY_INPUT: Final = {"why": Example("With a reason", waiting.WHY)}
WEBHOOK_CHANGE: Final = {"off": Example("Switched off", webhooks.CHANGE)}
CHILD_ID: Final = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e60"
SCHEDULE_ID: Final = "019a9f20-4444-7b7e-9a56-6f4a3c1d2e5f"
WEEKDAYS: Final = {
    "name": "morning report",
    "cron": "30 6 * * MON-FRI",
    "timezone": "Europe/Paris",
    "input": {"prompt": PROMPT, "group": "nightly"},
    "missed": "latest",
}
SCHEDULE_INPUT: Final = {
    "shortest": Example(
        "Only what must be there; the times are UTC",
        {"name": "every hour", "cron": "0 * * * *", "input": {"prompt": PROMPT}},
    ),
    "weekdays": Example("Half past six in Paris, Monday to Friday", WEEKDAYS),
}
SCHEDULE_CHANGE: Final = {"later": Example("Another time", {"cron": "45 6 * * MON-FRI"})}
SCHEDULE: Final = {
    "id": SCHEDULE_ID,
    **WEEKDAYS,
    "active": True,
    "next_at": "2026-11-23T05:30:00Z",
    "last_at": None,
    "last_run_id": None,
    "created_at": "2026-11-20T08:30:00Z",
}
NOTE_INPUT: Final = {"language": Example("One note", {"text": "Answer in French."})}
CANCEL_INPUT: Final = {"why": Example("With a reason", {"why": "asked the wrong question"})}

GROUP: Final = {
    "group": "nightly",
    "runs": 1,
    "by_status": {"completed": 1},
    "usage": VIEW.usage.model_dump(),
    "total_tokens": VIEW.total_tokens,
    "total_cost_usd": "0.001176",
    "unpriced": 0,
    "first_run_at": "2026-11-20T08:30:00Z",
    "last_run_at": "2026-11-20T08:30:00Z",
}
REPLAY_ID: Final = replays.REPLAY_ID
_DIFF: Final = diff_runs(STEPS, OTHER_STEPS, left_usd=COST.usd, right_usd=COST.usd)
REPLAY: Final = replays.replay(RUN_ID, OTHER_ID, _DIFF)
_SUMMARY: Final = ReplaySummary.model_validate(REPLAY, from_attributes=True)
BATCH_ID: Final = "019a9f1c-5555-7b7e-9a56-6f4a3c1d2e5f"
BATCH_RUNS: Final = ({"prompt": PROMPT}, {"promt": "What is 2 + 2?"})
BATCH: Final = {
    "batch_id": BATCH_ID,
    "name": "nightly questions",
    "status": "finished",
    "created_at": "2026-11-20T08:30:00Z",
    "cancelled_at": None,
    "size": 2,
    "accepted": 1,
    "runs": {"queued": 0, "running": 0, "waiting": 0, "completed": 1, "failed": 0, "cancelled": 0},
    "deleted": 0,
    "total_tokens": VIEW.total_tokens,
    "total_cost_usd": "0.001176",
    "unpriced": 0,
}
_UNKNOWN: Final = f"unknown field; the fields here are {', '.join(RunInput.model_fields)}"
_REFUSED: Final = {
    "type": "urn:agentops-studio:problem:invalid-request",
    "title": "The request is not valid",
    "status": 422,
    "detail": f"prompt: this field is required; promt: {_UNKNOWN}",
    "errors": [
        {"field": "prompt", "message": "this field is required"},
        {"field": "promt", "message": _UNKNOWN},
    ],
}
_LINES: Final = (
    {"index": 0, "batch_id": BATCH_ID, "run_id": RUN_ID},
    {"index": 1, "batch_id": BATCH_ID, "problem": _REFUSED},
)
SESSION: Final = {
    "session_id": "session-7",
    "runs": 1,
    "total_tokens": VIEW.total_tokens,
    "total_cost_usd": "0.001176",
    "unpriced": 0,
    "first_at": "2026-11-20T08:30:00Z",
    "last_at": "2026-11-20T08:30:00.989000Z",
    "last_run_id": RUN_ID,
    "last_status": "completed",
}
_SESSION_RUN: Final = {**VIEW.model_dump(mode="json"), "session_id": "session-7", "memory": None}
NOTE: Final = {"key": "language", "text": "Answer in French.", "updated_at": "2026-11-20T08:30:00Z"}
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
    "run-diff": _of("Other instructions, and another answer", _DIFF),
    "replay-accepted": Example("It waits for the replayer", replays.ACCEPTED),
    "replay": _of("One run, replayed with other instructions", REPLAY),
    "queued-replay": _of("The replayer has not taken it up", replays.queued(RUN_ID)),
    "replay-list": _of(
        "A page of replays", ReplayList(items=(_SUMMARY,), next_cursor=encode_cursor(REPLAY_ID))
    ),
    "replay-runs": _of("Its only run", ReplayRunList(items=REPLAY.items, next_cursor=None)),
    "replay-cancelled": Example("It is told to stop", {"replay_id": REPLAY_ID, "status": "running"}),
    "lineage": _of("A run, and a fork of it", replays.lineage(RUN_ID, OTHER_ID)),
    "simple-replay": Example(
        "Another answer",
        {
            "diff_id": "019a9f1c-aaaa-7b7e-9a56-6f4a3c1d2e5f",
            "run_id": RUN_ID,
            "new_run_id": OTHER_ID,
            "original_response": ANSWER,
            "new_response": "15",
            "diff": "--- original\n+++ replayed\n@@ -1 +1 @@\n-The result is 15.\n+15",
        },
    ),
    "artifact": Example("A text file", "the bytes of the file"),
    "bundle": Example("A bundle", "the bytes of the file"),
    "bundle-key": Example("Both forms of it", dict(zip(("public_key", "fingerprint"), SIGNER, strict=True))),
    "imported-bundle": Example(
        "Its signer is not known here",
        {
            "run_id": "019a9f1c-7c39-7c51-8d64-93a2b7f0e418",
            "status": "completed",
            "source_run_id": RUN_ID,
            "bundle": BODY_SHA256,
            "signer": SIGNER[1],
            "trusted": False,
            "scrubbed_steps": 0,
        },
    ),
    "large-value": Example("A text", "a text of more than 64 KiB …"),
    "events": Example("The last events of a run", _EVENTS),
    "chat-answer": Example("The run completed", {"response": ANSWER, "run_id": RUN_ID}),
    "simple-answer": Example(
        "The run completed and is charged",
        {"run_id": RUN_ID, "response": ANSWER, "total_tokens": VIEW.total_tokens, "total_cost": 0.001176},
    ),
    "simple-runs": Example("One run", [simple_run(VIEW).model_dump(mode="json")]),
    "simple-run": _of("A run with a tool call", simple_detail(VIEW, STEPS)),
    **{name: _of(summary, model) for name, (summary, model) in agents.ANSWERS.items()},
    "agent-versions": Example(
        "Two versions",
        {"items": [each.model_dump(mode="json") for each in agents.VERSIONS], "next_before": None},
    ),
    "waiting-list": Example(
        "One call waits for a decision", {"items": [waiting.waiting(RUN_ID)], "next_cursor": None}
    ),
    "decided": Example("The run goes on", {"run_id": RUN_ID, "status": "waiting"}),
    "retried": Example("The run is in the queue again", {"run_id": RUN_ID, "status": "queued"}),
    "tree": Example("A run that asked another", waiting.tree(RUN_ID, CHILD_ID)),
    "group-list": Example("One group", {"items": [GROUP], "next_cursor": None}),
    "group": Example("One run has completed", GROUP),
    "group-cancelled": Example("One run is told to stop", {"group": "nightly", "asked": 1, "left": 0}),
    "new-webhook": Example("With its secret", webhooks.NEW_WEBHOOK),
    "webhook": Example("A webhook", webhooks.WEBHOOK),
    "webhook-list": Example("One webhook", {"items": [webhooks.WEBHOOK]}),
    "delivery": Example("It has arrived", webhooks.delivery(RUN_ID)),
    "failing-delivery": Example("It will be tried again", webhooks.failing(RUN_ID)),
    "delivery-again": Example("It waits for the next attempt", webhooks.waiting(webhooks.delivery(RUN_ID))),
    "delivery-list": Example("One delivery", {"items": [webhooks.delivery(RUN_ID)], "next_cursor": None}),
    "test-delivery": Example("It waits for its first attempt", webhooks.TEST_DELIVERY),
    "schedule": Example("It was not due yet", SCHEDULE),
    "paused-schedule": Example("It is due never", {**SCHEDULE, "active": False, "next_at": None}),
    "schedule-list": Example("One schedule", {"items": [SCHEDULE]}),
    "tick-list": Example(
        "One time, and its run",
        {
            "items": [
                {
                    "due_at": "2026-11-20T05:30:00Z",
                    "status": "started",
                    "run_id": RUN_ID,
                    "tries": 1,
                    "error": None,
                }
            ],
            "next_cursor": None,
        },
    ),
    "batch-upload": Example("Defaults, and two runs", _ndjson({"defaults": {"max_rounds": 3}}, *BATCH_RUNS)),
    "batch-array": Example("Two runs", list(BATCH_RUNS)),
    "batch-lines": Example("One run accepted, one refused", _ndjson(*_LINES)),
    "batch": Example("All of its runs have ended", BATCH),
    "batch-list": Example("One batch", {"items": [BATCH], "next_cursor": None}),
    "batch-cancelled": Example("It was over already", {"batch_id": BATCH_ID, "waiting": 0, "running": 0}),
    "session-list": Example("One session", {"items": [SESSION], "next_cursor": None}),
    "session": Example("With one run", {**SESSION, "items": [_SESSION_RUN], "next_cursor": None}),
    "note": Example("One note", NOTE),
    "note-list": Example("One note", {"items": [NOTE]}),
    "tools": Example("One of the built-in tools", {"items": [_CALCULATOR.model_dump(mode="json")]}),
    "tool": _of("One of the built-in tools", _CALCULATOR),
    "http-tool": _of("An HTTP tool", tools.OWN_TOOL),
    "switched-tool": _of("Switched off", tools.switched(CALCULATOR)),
    "mcp-servers": Example("One server", {"items": [tools.SEEN_SERVER.model_dump(mode="json")]}),
    "mcp-server": _of("A server with one tool", tools.SEEN_SERVER),
    "new-mcp-server": _of("It has not been asked yet", tools.NEW_SERVER),
    "models": Example("The simulator's", {"provider": "simulator", "default": MODEL, "items": list(MODELS)}),
    "ticket": Example(
        "Good for 30 s", {"ticket": "aos_ticket_eyJwcm9qZWN0IjoiZGVmYXVsdCIsImtleV9pZCI6…", "expires_in": 30}
    ),
}
