"""What comes out, as it goes into JSON: comparisons, verdicts and blame. Every number is finite, in the
unit of its metric."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.replayer.statistics.alignment import Unit
from services.replayer.statistics.observations import Metric

Judgement = Literal["better", "worse", "undecided"]
BlameVerdict = Literal["found", "from-start", "undecided"]


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
