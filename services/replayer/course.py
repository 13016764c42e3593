"""What a replay does once all its planned runs have ended: plan more, or end. Pure.

It follows from the order, the runs, and the verdict of the last look, which are all in the database: whoever
goes on after a crash decides the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.replayer.replay_runs import Planned, ReplayRun, forks, samples
from services.replayer.verdicts import schedule, search, suspect, verdict
from shared.findings import Blame, Verdict
from shared.messages import ReplayRequested


@dataclass(frozen=True)
class Course:
    """The runs to plan, none at the end; what is known by now."""

    plan: tuple[Planned, ...]
    verdict: Verdict | None = None
    blame: Blame | None = None


def next_course(
    order: ReplayRequested,
    ended: Sequence[ReplayRun],
    earlier: Verdict | None = None,
    points: Sequence[int] = (),
) -> Course:
    """`points`: where the run can be forked, for blame."""
    if order.mode == "blame":
        return _search(order, ended, points)
    if len(order.arms) < 2 or not order.metrics:
        count = 1 if order.mode == "verify" else order.samples
        arms = [arm.name for arm in order.arms]
        return Course(() if ended else tuple(samples(order, arms, range(count * len(order.sources)))))
    return _look(order, ended, earlier)


def _look(order: ReplayRequested, ended: Sequence[ReplayRun], earlier: Verdict | None) -> Course:
    plan, arms = schedule(order), [arm.name for arm in order.arms]
    if not ended:
        return Course(tuple(samples(order, arms, range(plan[0].runs))))
    done = earlier.runs if earlier is not None else 0
    look = next(each for each in plan if each.runs > done)
    found = verdict(order, ended, look, earlier)
    undecided = [arms[0], *found.undecided] if found.more_runs else []
    numbers = range(look.runs, look.runs + found.more_runs)
    return Course(tuple(samples(order, undecided, numbers)) if undecided else (), verdict=found)


def _search(order: ReplayRequested, ended: Sequence[ReplayRun], points: Sequence[int]) -> Course:
    state = search(order, ended, points)
    blame, wanted = suspect(state)
    if wanted is None:
        return Course((), blame=blame)
    done = sum(run.planned.fork_step == wanted.point for run in ended)
    return Course(tuple(forks(order.arms[0], wanted.point, done, wanted.runs)), blame=blame)
