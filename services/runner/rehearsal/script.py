"""The recorded steps, and how far the rehearsal has come. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from services.runner.model import strictly_decoded
from shared.divergence import ModelTurn
from shared.steps import (
    ApprovalRequested,
    ApprovalResolved,
    BudgetRaised,
    CancelRequested,
    OutcomeResolved,
    RunClaimed,
    RunDeleted,
    RunFinished,
    RunRetried,
    RunVerified,
    Step,
    ToolCall,
    ToolResult,
    UnknownStep,
)

News = (
    RunClaimed
    | CancelRequested
    | ApprovalResolved
    | OutcomeResolved
    | BudgetRaised
    | RunRetried
    | RunVerified
    | RunDeleted
    | UnknownStep
)
"""What others appended, or no earlier step decides."""
REACH: Final = 256
"""How far ahead what belongs together can lie."""


class Script:
    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self._place = 1  # behind step 0
        asked = {step.call_id for step in steps if isinstance(step, ApprovalRequested)}
        self._known_answers = {
            intent.call_id: result
            for intent, result in pairwise(steps)
            if isinstance(intent, ToolCall)
            and isinstance(result, ToolResult)
            and intent.call_id == result.call_id
            and intent.call_id not in asked
        }

    @property
    def next(self) -> Step | None:
        """The next step to be played; None at the end of the log."""
        return self.steps[self._place] if self._place < len(self.steps) else None

    def advance(self) -> None:
        self._place += 1

    def turn_ahead(self) -> ModelTurn | None:
        """The answer that the model gives next, if the runner that asked for it has recorded it."""
        for step in self.steps[self._place : self._place + REACH]:
            if isinstance(step, ModelTurn):
                return step
            if isinstance(step, RunClaimed) or not isinstance(step, News):
                break
        return None

    def end_ahead(self) -> RunFinished | None:
        """The end that the next steps make."""
        ahead = self.steps[self._place : self._place + 2]
        return next((step for step in ahead if isinstance(step, RunFinished)), None)

    def call_ahead(self, tool: str, arguments: object) -> ToolCall | ApprovalRequested | None:
        """The next such call."""
        for step in self.steps[self._place : self._place + REACH]:
            if not isinstance(step, ToolCall | ApprovalRequested) or step.tool != tool:
                continue
            if arguments in (step.arguments, _parsed(step.arguments)):
                return step
        return None

    def known_answer(self, call_id: str) -> ToolResult | None:
        """The result of a call that stands right behind its intent, and that nobody was asked about."""
        return self._known_answers.get(call_id)


def _parsed(arguments: object) -> object:
    """Unusable arguments are recorded as the text that they came in."""
    try:
        return strictly_decoded(arguments) if isinstance(arguments, str) else None
    except (ValueError, RecursionError):
        return None
