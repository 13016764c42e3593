"""Why what a person says to a run cannot be taken, as problems."""

from typing import Final

from services.gateway.problems import NOT_FOUND, Kind, Problem

CALL_DECIDED: Final = Kind("call-decided", 409, "The call has been decided about")
OTHER_ARGUMENTS: Final = Kind("other-arguments", 409, "The decision is about other arguments")
NOT_WAITING: Final = Kind("run-not-waiting", 409, "The run does not wait")


def no_such_call(call_id: str) -> Problem:
    return Problem(NOT_FOUND, f"the run has no call {call_id!r}; GET /api/waiting shows what waits")


def call_decided(decision: str, who: str) -> Problem:
    return Problem(CALL_DECIDED, f"the call was {decision} by {who}")


def other_arguments(arguments_hash: str) -> Problem:
    return Problem(
        OTHER_ARGUMENTS,
        f"the call waits with the arguments_hash {arguments_hash}; look at its arguments and decide again",
    )


def not_waiting(status: str) -> Problem:
    return Problem(NOT_WAITING, f"the run is {status}; it waits for nobody")


def no_outcome_wanted(call_id: str) -> Problem:
    return Problem(NOT_WAITING, f"the run does not wait for the outcome of a call {call_id!r}")
