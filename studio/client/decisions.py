"""What a person says about a call that waits, as the server takes it."""

from collections.abc import Mapping

from pydantic import JsonValue

from studio.client.models import WaitingCall


def approval(call: WaitingCall, arguments: Mapping[str, JsonValue] | None) -> dict[str, JsonValue]:
    """Bound to the arguments that were seen; `arguments` are those to use instead."""
    said: dict[str, JsonValue] = {"decision": "approve", "arguments_hash": call.arguments_hash}
    return said if arguments is None else {**said, "arguments": dict(arguments)}


def denial(call: WaitingCall, note: str) -> dict[str, JsonValue]:
    return {"decision": "deny", "arguments_hash": call.arguments_hash, "note": note}
