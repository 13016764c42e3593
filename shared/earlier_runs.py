"""What an earlier run of a session had come to when a later one began: that is what the later one was told.

It stays so. An earlier run that is retried afterwards says something else, but not to those that have begun.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.model_request import JsonObject
from shared.provider_messages import messages_of
from shared.run_state import RunState, fold
from shared.steps import RunClaimed, RunFinished, RunRequested, RunStatus, Step


def began(steps: Sequence[Step]) -> datetime | None:
    """When a runner first had the run; None: none has yet."""
    return next((step.at for step in steps if isinstance(step, RunClaimed)), None)


def told_at(run: Sequence[Step]) -> datetime | None:
    """When the run was told what others had said before it: a replay is told what its source was told."""
    plan = run[0].replay if run and isinstance(run[0], RunRequested) else None
    return plan.told_at if plan is not None and plan.told_at is not None else began(run)


def as_told(earlier: Sequence[Step], later_began: datetime | None) -> RunState:
    """The earlier run up to its last end before the later one began, or as it is now. Raises LogGap.

    A run begins only once those before it have ended, so a first end was there, whatever two clocks say.
    """
    ends = [place for place, step in enumerate(earlier, start=1) if isinstance(step, RunFinished)]
    if later_began is None or not ends:
        return fold(earlier)
    told = [place for place in ends if earlier[place - 1].at <= later_began]
    return fold(earlier[: (told or ends[:1])[-1]])


def said(earlier: RunState) -> list[JsonObject]:
    """The conversation that it adds, in the provider's form."""
    if earlier.finished is None or earlier.status is not RunStatus.COMPLETED:
        return []
    return list(messages_of(earlier.turns))
