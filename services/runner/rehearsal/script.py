"""The recorded steps, and how far the rehearsal has come. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from services.runner.model import strictly_decoded
from shared.divergence import ModelTurn
from shared.steps import (
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    BudgetRaised,
    CancelRequested,
    ConversationStep,
    OutcomeResolved,
    RunClaimed,
    RunDeleted,
    RunFinished,
    RunRequested,
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
    """Raises TypeError for what does not begin with a request."""

    def __init__(self, steps: Sequence[Step]) -> None:
        first = steps[0] if steps else None
        if not isinstance(first, RunRequested):
            raise TypeError("a run's log begins with its request")
        self.request = first
        self.steps = steps
        self._place = 1  # behind step 0
        own = (each.seq for each in steps if isinstance(each, ConversationStep) and each.copied_from is None)
        self._own_from = next(own, len(steps))
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

    @property
    def is_of_replay(self) -> bool:
        return self.request.replay is not None

    def is_thought_anew(self, step: AgentThought) -> bool:
        """Of a copied thought, whether the run was forked there: then its calls are no copies."""
        after = self.steps[step.seq + 1] if step.seq + 1 < len(self.steps) else None
        made = isinstance(after, ToolCall) and after.copied_from is None
        return made or isinstance(after, ApprovalRequested)

    def may_be_copied(self, step: ConversationStep) -> bool:
        """Whether the run can have the step from its source: a fork's first ones, and answers of tools."""
        plan, place = self.request.replay, step.copied_from
        if plan is None or place is None:
            return False
        is_kept = plan.fork_step is not None and place <= plan.fork_step
        return isinstance(step, ToolResult) or (is_kept and step.seq < self._own_from)

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
