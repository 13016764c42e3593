"""What waits for a person, as the API's description shows it."""

from decimal import Decimal
from typing import Any, Final

from services.gateway.problems import RUN_ACTIVE, RUN_FINISHED, Problem, invalid
from services.gateway.waiting.refusals import (
    answers_another,
    call_decided,
    no_higher,
    no_outcome_wanted,
    no_such_call,
    not_waiting,
    other_arguments,
)

CALL_ID: Final = "D681PevKs"
ARGUMENTS: Final = {"to": "all@example.com", "text": "The result is 45."}
HASH: Final = "5d1f4fa6d1a1b8a3f0b3e4a5f5b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f70"
AT: Final = "2026-11-20T08:30:00.123456Z"
WHO: Final = "key laptop (k3v9x2)"
APPROVE: Final = {"decision": "approve", "arguments_hash": HASH}
EDIT: Final = {**APPROVE, "arguments": {"to": "team@example.com", "text": "The result is 45."}}
DENY: Final = {"decision": "deny", "arguments_hash": HASH, "note": "Not to everybody."}
HAPPENED: Final = {"decision": "happened", "result": {"message_id": "m-17"}, "note": "It is in the outbox."}
DID_NOT_HAPPEN: Final = {"decision": "did-not-happen"}
RESUME: Final = {"budget_usd": 0.5}
WHY: Final = {"why": "the provider is back"}
CALL: Final[dict[str, Any]] = {
    "call_id": CALL_ID,
    "tool": "send_mail",
    "arguments": ARGUMENTS,
    "arguments_hash": HASH,
    "effect": "irreversible",
    "asked_at": AT,
    "expires_at": None,
}


def waiting(run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "reason": "approval",
        "agent": "assistant",
        "user_id": "default",
        "session_id": None,
        "group": None,
        "since": AT,
        "until": None,
        "why": None,
        "calls": [CALL],
    }


def tree(run_id: str, child_id: str) -> dict[str, Any]:
    cost = str(Decimal("0.001176"))
    below = {"run_id": child_id, "parent_run_id": run_id, "agent": "assistant", "status": "completed"}
    top = {"run_id": run_id, "parent_run_id": None, "agent": "assistant", "status": "completed"}
    child = {**below, "total_tokens": 15, "total_cost_usd": cost, "children": []}
    root = {**top, "total_tokens": 15, "total_cost_usd": cost, "children": [child]}
    return {"root": root, "runs": 2, "total_tokens": 30, "total_cost_usd": cost}


PROBLEMS: Final[dict[str, Problem]] = {
    "no-such-call": no_such_call("D681PevKs"),
    "call-decided": call_decided("approved", WHO),
    "other-arguments": other_arguments(HASH),
    "bad-arguments": invalid("arguments", "$: 'text' is a required property"),
    "run-not-waiting": not_waiting("completed"),
    "no-outcome-wanted": no_outcome_wanted(CALL_ID),
    "retry-active": Problem(RUN_ACTIVE, "the run is waiting; only what has ended can be retried"),
    "budget-not-higher": no_higher(Decimal("0.5")),
    "retry-child": answers_another("019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"),
    "retry-completed": Problem(RUN_FINISHED, "the run is completed; start a new one"),
}
