"""What the statistics of replays find, as it goes into JSON: comparisons, verdicts and blame. Pure.

Every number is finite, in the unit of its metric. How it is found is the replayer's; the gateway shows it.
"""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Unit = Literal["sample", "pair", "case"]
Judgement = Literal["better", "worse", "undecided"]
BlameVerdict = Literal["found", "from-start", "undecided"]


class Metric(BaseModel):
    """What is measured, in which unit, and which direction is good.

    `bounds` are the least and the greatest value that can occur, where both are known; a binary metric has
    0 and 1.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    better: Literal["higher", "lower"]
    unit: str = ""
    binary: bool = False
    bounds: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if self.bounds and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"{self.name}: a lower bound and an upper one are needed, not {self.bounds}")
        return self

    @property
    def span(self) -> tuple[float, float] | None:
        return (0.0, 1.0) if self.binary else self.bounds

    def refusal(self, value: float) -> str | None:
        """Why this cannot be a value of the metric; None where it can."""
        if not math.isfinite(value):
            return f"{self.name}: {value} is no number; a run without a value has None"
        if self.binary and value not in (0.0, 1.0):
            return f"{self.name} is binary: {value} is neither 0 nor 1"
        if self.span and not self.span[0] <= value <= self.span[1]:
            return f"{self.name}: {value} lies outside {self.span[0]:g} to {self.span[1]:g}"
        return None


class Interval(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    low: float
    high: float


class ArmSummary(BaseModel):
    """`n` values were used, `mean` is theirs (None without one); `missing` runs have no value, `unpaired`
    ones have one, but the other arm has none to set against it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    n: int
    missing: int
    unpaired: int
    mean: float | None


class Comparison(BaseModel):
    """One metric of a candidate against the baseline.

    `difference` is candidate minus baseline, `relative` the same as a share of the baseline's mean;
    `interval` is that of the difference, None where the data bear none. `unit` says what was compared:
    single samples, pairs of samples within cases, or the means of cases. `samples_needed` per arm, in all,
    only while undecided.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    metric: Metric
    baseline: ArmSummary
    candidate: ArmSummary
    cases: int
    unit: Unit
    difference: float | None
    relative: float | None
    interval: Interval | None
    interval_method: str
    confidence: float
    p_value: float
    test: str
    verdict: Judgement
    samples_needed: int | None
    words: str


class CandidateVerdict(BaseModel):
    """A candidate's verdict is that of its first, deciding metric; `runs` per arm it was given on."""

    model_config = ConfigDict(frozen=True)

    candidate: str
    verdict: Judgement
    runs: int
    comparisons: tuple[Comparison, ...]


class Verdict(BaseModel):
    """`more_runs` per arm are wanted before the next look, of the baseline and of each undecided
    candidate; 0: the end."""

    model_config = ConfigDict(frozen=True)

    runs: int
    candidates: tuple[CandidateVerdict, ...]
    more_runs: int
    words: str

    @property
    def undecided(self) -> tuple[str, ...]:
        return tuple(each.candidate for each in self.candidates if each.verdict == "undecided")


class PointProbability(BaseModel):
    """How often runs that were forked behind the step `point` succeed."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    point: int
    successes: int
    tries: int
    probability: float
    interval: Interval


class Stretch(BaseModel):
    """The steps behind `after`, up to and with `until`; None: from the beginning, to the end."""

    model_config = ConfigDict(frozen=True)

    after: int | None
    until: int | None


class Culprit(BaseModel):
    """The most probable stretch. `drop` and its interval need tries at both of its ends."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    stretch: Stretch
    probability: float
    drop: float | None
    interval: Interval | None


class Blame(BaseModel):
    """`found`: the culprit is certain enough. `from-start`: no step is to blame, the run fails from its
    start on. `within` is where the culprit lies with the confidence of the search."""

    model_config = ConfigDict(frozen=True)

    verdict: BlameVerdict
    points: tuple[PointProbability, ...]
    culprit: Culprit | None
    within: Stretch
    words: str
