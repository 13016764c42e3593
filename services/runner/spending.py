"""Whether a run can pay for what it is about to do: what a call may cost at most, and the share of a run that
it asks for. Pure; what has been spent is in the run's ledger.
"""

from decimal import ROUND_DOWN, Decimal
from typing import Final

from services.runner.decision import CallModel, Finish, Wait
from shared.ledger import Ledger
from shared.model_request import ModelRequest
from shared.steps import MILLION, Failure, RunRequested, RunStatus

SMALLEST_SHARE: Final = Decimal("0.000001")
"""USD. Shares are cut to whole multiples of it."""


def worst_case(request: ModelRequest, ledger: Ledger) -> Decimal | None:
    """The most USD that the call may cost: no tokenizer makes more tokens of a text than it has bytes, and
    the answer has at most `max_tokens`. None: there is no price for the model, or no bound of its answer.
    """
    rates, most = ledger.rates.get(request.model), request.parameters.get("max_tokens")
    if rates is None or not isinstance(most, int):
        return None
    asked = len(request.canonical().encode()) * max(rates.input, rates.cached_input)
    return (asked + most * max(rates.output, rates.reasoning)) / MILLION


def affordable(run: RunRequested, ledger: Ledger, most: Decimal | None) -> CallModel | Wait | Finish:
    """Call the model if the budget allows it. Else the run waits for a higher one; but a run that answers the
    call of another ends, for that one has the money, and so does a replay, of whose many runs none is worth a
    person's time."""
    if most is None:
        why = "The run has a budget, but there is no price for its model or no max_tokens."
        return Finish(RunStatus.FAILED, Failure(type="no-price", message=why))
    if ledger.left >= most:
        return CallModel()
    why = (
        f"The next call of the model may cost {most:.6f} USD; "
        f"of {ledger.cap:f} USD (budget_usd) {max(ledger.left, Decimal()):.6f} are left."
    )
    if run.parent_run_id is not None or run.replay is not None:
        return Finish(RunStatus.FAILED, Failure(type="budget", message=why, retryable=True))
    return Wait("budget", None, why=why)


def share(ledger: Ledger, asking: int, own: object) -> Decimal:
    """What a run may spend that answers a call: an equal part of what is left, as `asking` calls have none
    yet, and not more than its agent's `own` budget_usd."""
    part = max(ledger.left, Decimal()) / max(asking, 1)
    if isinstance(own, int | float):
        part = min(part, Decimal(str(own)))
    return part.quantize(SMALLEST_SHARE, ROUND_DOWN)
