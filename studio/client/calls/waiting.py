"""What a person decides about runs that wait."""

from collections.abc import Mapping

from pydantic import JsonValue

from studio.client.calls.call import Call, Listing, path, reader
from studio.client.models import Accepted, Page, WaitingCall, WaitingRun


def waiting(*, limit: int | None = None) -> Listing[WaitingRun]:
    """The runs that wait for a person, newest first; at most `limit`."""
    return Listing(Page[WaitingRun], path("waiting"), limit)


def approve(
    run_id: str, call: WaitingCall, *, arguments: Mapping[str, JsonValue] | None = None
) -> Call[Accepted]:
    """Allow a call that waits, with these arguments instead if they are given.

    It is bound to the arguments that were seen. Raises Conflict when it has been decided about.
    """
    instead: dict[str, JsonValue] = {} if arguments is None else {"arguments": dict(arguments)}
    return _decide(run_id, call, {"decision": "approve", **instead})


def deny(run_id: str, call: WaitingCall, note: str = "") -> Call[Accepted]:
    """Refuse a call that waits; the model is told, with the note."""
    return _decide(run_id, call, {"decision": "deny", "note": note})


def settle(run_id: str, call_id: str, decision: str, result: JsonValue = None) -> Call[Accepted]:
    """Say what became of a call whose outcome is unknown: happened, did-not-happen or fail."""
    said: dict[str, JsonValue] = {"decision": decision, "result": result}
    return Call("POST", path("runs", run_id, "outcomes", call_id), reader(Accepted), body=said)


def resume(run_id: str, *, budget_usd: float | None = None) -> Call[Accepted]:
    """Let a waiting run be looked at again, with a higher budget if one is given: all that it may spend."""
    said: dict[str, JsonValue] = {} if budget_usd is None else {"budget_usd": budget_usd}
    return Call("POST", path("runs", run_id, "resume"), reader(Accepted), body=said)


def _decide(run_id: str, call: WaitingCall, said: dict[str, JsonValue]) -> Call[Accepted]:
    body = {**said, "arguments_hash": call.arguments_hash}
    return Call("POST", path("runs", run_id, "approvals", call.call_id), reader(Accepted), body=body)
