"""A run that replays another: what it takes from its source before it goes on by itself, or instead."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.runner.decision import after_rehearsal
from services.runner.ending import ending
from services.runner.journal import Journal
from services.runner.means import Answers, Means
from services.runner.performer import Performer
from services.runner.recorded_answers import RecordedAnswers
from services.runner.rehearsal.rehearsal import Rehearsal
from shared.earlier_runs import told_at
from shared.errors import StudioError
from shared.fork import Kept, kept
from shared.model_request import JsonObject
from shared.scrub import Scrubber
from shared.steps import (
    AgentThought,
    Envelope,
    Failure,
    ReplayPlan,
    RunDeleted,
    RunRequested,
    RunStatus,
    RunVerified,
    Step,
)

AT_ONCE: Final = 100
"""Steps that are copied in one go: they have to fit into a message."""
OF_ENVELOPE: Final = frozenset({*Envelope.model_fields, "kind", "copied_from"})
CHANGEABLE: Final = (
    *("agent", "model", "instructions", "prompt", "messages", "parameters"),
    *("tools", "response_format", "agents", "max_rounds"),
)
"""What of step 0 a replay may have otherwise; the rest of a rehearsal is as it was."""


class SourceGone(StudioError):
    """The run that is to be replayed is not there any more."""


class Replay:
    """`source` are the steps of the run that is replayed. Raises SourceGone, and CannotFork."""

    def __init__(self, plan: ReplayPlan, source: Sequence[Step]) -> None:
        if not source or not isinstance(source[0], RunRequested) or isinstance(source[-1], RunDeleted):
            raise SourceGone(
                f"The run {plan.source_run_id} is not there any more: it was deleted, or is too old."
            )
        self._plan = plan
        self._source = source
        self._kept = kept(source, plan.fork_step, plan.edits) if plan.fork_step is not None else []

    @property
    def is_rehearsal(self) -> bool:
        return self._plan.mode == "verify"

    @property
    def told_at(self) -> datetime | None:
        return told_at(self._source)

    @property
    def answers(self) -> Answers:
        return RecordedAnswers(self._plan, self._source)

    async def open(self, journal: Journal, performer: Performer) -> None:
        """Take over what a fork keeps, from where an earlier claim has left off."""
        left = [step for step in self._kept if step.seq not in journal.state.copied]
        for place, step in enumerate(left, start=1):
            if isinstance(step, AgentThought) and step.seq == self._plan.fork_step:
                performer.adopt(step)
            else:
                journal.record((type(step), _own_fields(step)))
            if place % AT_ONCE == 0:
                await journal.commit()

    async def verify(
        self, journal: Journal, means: Means, history: Sequence[JsonObject], scrubber: Scrubber
    ) -> None:
        """Rehearse the source and record how that went."""
        run = journal.request
        changes = {name: getattr(run, name) for name in CHANGEABLE}
        live = frozenset(name for name, answer in self._plan.tools.items() if answer.answer == "live")
        rehearsal = Rehearsal(
            self._source,
            means,
            changes=changes,
            history=history,
            scrubber=scrubber,
            live=live,
            must_end=True,
        )
        try:
            async with asyncio.timeout(run.timeout_s):
                outcome = await rehearsal.play()
        except TimeoutError:
            why = f"The rehearsal took longer than {run.timeout_s:g} s (timeout_s)."
            late = Failure(type="timeout", message=why, retryable=True)
            journal.record(*ending(journal.state, means.clock(), RunStatus.FAILED, late))
        else:
            end = after_rehearsal(outcome.divergence)
            verified = RunVerified, {**vars(outcome), "equal": outcome.divergence is None}
            journal.record(*ending(journal.state, means.clock(), end.status, end.failure, [verified]))
        await journal.commit()


def _own_fields(step: Kept) -> dict[str, object]:
    fields = {name: getattr(step, name) for name in type(step).model_fields if name not in OF_ENVELOPE}
    return {**fields, "copied_from": step.seq}
