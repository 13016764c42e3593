"""A run of a replay: which source, arm, step and sample it is, and so its id; what became of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.derived_ids import derived_id
from shared.messages import Arm, ReplayRequested
from shared.replay_results import RunMeasures
from shared.steps import RunStatus

RUNS_OF_BLAME: Final = 60
"""The budget of a search for the step to blame that names none."""


@dataclass(frozen=True)
class Planned:
    """`place` is that of the source among those of the replay. Nothing but the order and these says what the
    run is, so whoever asks for it again asks for the same."""

    place: int
    arm: str
    sample: int
    fork_step: int | None = None

    def run_id(self, order: ReplayRequested) -> str:
        what = (self.source(order), self.arm, self.fork_step, self.sample)
        return derived_id(order.at, ":".join(map(str, (order.replay_id, *what))))

    def source(self, order: ReplayRequested) -> str:
        return order.sources[self.place]


@dataclass(frozen=True)
class ReplayRun:
    """`status` is how the run ended, once that is known; `measures` come with its end."""

    run_id: str
    planned: Planned
    status: RunStatus | None = None
    measures: RunMeasures | None = None
    requested_at: datetime | None = None


def most_runs(order: ReplayRequested) -> int:
    """As many runs as the replay may come to."""
    if order.mode == "blame":
        return order.most_runs or RUNS_OF_BLAME
    return len(order.sources) * len(order.arms) * (1 if order.mode == "verify" else order.samples)


def samples(order: ReplayRequested, arms: Sequence[str], numbers: Iterable[int]) -> Iterator[Planned]:
    """The runs with these numbers of each arm. In an arm they are numbered: one sample of every source
    first, then the next of every source."""
    for number in numbers:
        sample, place = divmod(number, len(order.sources))
        for arm in arms:
            yield Planned(place, arm, sample, order.fork_step)


def forks(arm: Arm, step: int, done: int, count: int) -> Iterator[Planned]:
    """So many more runs of the first source that are forked at the step, of which `done` are planned."""
    for sample in range(done, done + count):
        yield Planned(0, arm.name, sample, step)
