"""Why what a person says to a run cannot be taken, as problems."""

from decimal import Decimal
from typing import Final

from services.gateway.problems import NOT_FOUND, RUN_FINISHED, Kind, Problem, invalid

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


def no_higher(cap: Decimal) -> Problem:
    return invalid("budget_usd", f"the run's budget is {cap:f} USD; give more to raise it")


def no_budget() -> Problem:
    return invalid("budget_usd", "the run has no budget; resume it without one")


def shared_budget(root_run_id: str) -> Problem:
    return invalid("budget_usd", f"the run has a share of the budget of run {root_run_id}; raise that one's")


def answers_another(parent_run_id: str) -> Problem:
    message = f"the run answered a call of run {parent_run_id}, which has gone on without it; retry that one"
    return Problem(RUN_FINISHED, message)
