"""What a run has spent of its budget, and what it has set aside. Pure: a part of the fold of its steps.

Money is set aside in the log before it can be spent: the most that the next call of the model may cost, and
the share of each run that answers a call. Where nobody can know what was really spent (a runner died within
the call), all that was set aside counts as spent, so that the sum never passes the cap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Self

from shared.steps import BudgetRaised, Failure, ModelCall, Rates, RunRequested, SpendReserved, ToolResult

MODEL: Final = None
"""In place of a call's id: what is set aside for the next call of the model."""


@dataclass
class Ledger:
    """USD. `reserved` is by the id of the call that a run answers, and by None for the model."""

    cap: Decimal
    rates: Mapping[str, Rates]
    spent: Decimal = Decimal()
    reserved: dict[str | None, Decimal] = field(default_factory=dict)

    @classmethod
    def of(cls, request: RunRequested) -> Self | None:
        """None: the run has no budget."""
        if request.budget_usd is None:
            return None
        return cls(cap=usd(request.budget_usd), rates=request.rates)

    @property
    def left(self) -> Decimal:
        """What can still be set aside."""
        return self.cap - self.used

    @property
    def used(self) -> Decimal:
        """The most that may have been spent."""
        return self.spent + sum(self.reserved.values(), Decimal())

    def reserve(self, step: SpendReserved) -> None:
        """What was set aside for the same thing before has come to nothing that is known: it is spent."""
        self.lose(step.call_id)
        self.reserved[step.call_id] = step.usd

    def lose(self, call_id: str | None) -> None:
        """Nobody will learn what came of this money."""
        self.spent += self.reserved.pop(call_id, Decimal())

    def called(self, call: ModelCall) -> None:
        """The model has answered. Without a usage or a price its cost is not known: all of it is spent."""
        rates, usage = self.rates.get(call.asked), call.usage
        consistent = usage.cached_input <= usage.input and usage.reasoning <= usage.output
        if rates is None or usage.total == 0 or not consistent:
            self.lose(MODEL)
            return
        self.reserved.pop(MODEL, None)
        self.spent += rates.amount(usage)

    def answered(self, result: ToolResult) -> None:
        """The run that answered a call has ended, or its call came to nothing."""
        if result.call_id not in self.reserved:
            return
        if result.spent_usd is None:
            self.lose(result.call_id)
            return
        del self.reserved[result.call_id]
        self.spent += result.spent_usd

    def ended(self, failure: Failure | None) -> None:
        """The run has ended. Calls of the model that were all refused have cost nothing."""
        if failure and failure.attempts and all(each.status is not None for each in failure.attempts):
            self.reserved.pop(MODEL, None)
        self.lose(MODEL)

    def raised(self, step: BudgetRaised) -> None:
        self.cap = usd(step.budget_usd)


def usd(amount: float) -> Decimal:
    """The amount as it is written: 0.1 is a tenth."""
    return Decimal(str(amount))
