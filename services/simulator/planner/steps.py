"""The words of planning: a task has steps, a step becomes a tool call, a call has an outcome.

In: the types the kinds of questions share. Out: the questions themselves (one file each), walking
through the steps (`agenda`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from services.simulator.planner.results import read_outcome
from services.simulator.sampling import Sampler


@dataclass(frozen=True)
class Success:
    text: str


@dataclass(frozen=True)
class Failure:
    reason: str


Outcome: TypeAlias = Success | Failure


@dataclass(frozen=True)
class PlannedCall:
    """A call to make; `saying` completes "I …" in the text beside it."""

    tool: str
    arguments: dict[str, Any]
    saying: str


class Step(ABC):
    """One tool call of a task."""

    @property
    def needs(self) -> tuple[int, ...]:
        """The steps of the same task that must have succeeded before this one can be called."""
        return ()

    @property
    def slippery(self) -> bool:
        """Whether a weak model may get this one wrong."""
        return False

    @abstractmethod
    def call(self, results: Mapping[int, str]) -> PlannedCall:
        """The call, given the tool's answers to the steps it needs."""

    def read(self, result: str) -> Outcome:
        """What a tool's answer to this step means."""
        error = read_outcome(result)
        return Success(result) if error is None else Failure(error)

    def slipped(self, call: PlannedCall, sampler: Sampler) -> PlannedCall:
        """The call as a model makes it that errs here; only steps that are `slippery` change."""
        return call


class Task(Protocol):
    """Something a question asks for. Without steps it is answered at once by `conclude`."""

    @property
    def steps(self) -> Sequence[Step]: ...

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        """The sentence that answers, from the outcomes of the steps (a missing one was not reached)."""
        ...
