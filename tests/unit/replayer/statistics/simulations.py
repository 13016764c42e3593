"""Known truths, drawn many times: how often intervals hold them, how often verdicts are wrong, how often they
see.

`python -m tests.unit.replayer.statistics.simulations` prints the table of docs/statistics.md; the tests
run fewer draws.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from services.replayer.statistics import intervals
from services.replayer.statistics.bisection import next_forks
from services.replayer.statistics.blame import blame
from services.replayer.statistics.intervals import Interval
from services.replayer.statistics.observations import Observations
from services.replayer.statistics.schedule import looks
from services.replayer.statistics.search import Search
from services.replayer.statistics.verdict import judge
from shared.findings import Blame, CandidateVerdict, Metric, Verdict
from tests.unit.replayer.statistics.arms import COST, SUCCESS, by_case

RESAMPLES = 399
ENOUGH = 1_999
"""Resamples by which a test can reach the level of the first look too."""
LEVEL = 0.05
Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""Values of so many cases (rows) and samples (columns)."""


def normal(mean: float) -> Draw:
    return lambda rng, cases, samples: rng.normal(mean, 1, (cases, samples))


def cost(spread: float, factor: float = 1.0) -> Draw:
    return lambda rng, cases, samples: factor * rng.lognormal(0, spread, (cases, samples))


def success(probability: float) -> Draw:
    return lambda rng, cases, samples: (rng.random((cases, samples)) < probability).astype(float)


@dataclass(frozen=True)
class Coverage:
    """An interval at 95 % of a difference that is known."""

    name: str
    truth: float
    interval: Callable[[np.random.Generator], Interval]

    def share(self, draws: int, seed: int = 1) -> float:
        rng = np.random.default_rng(seed)
        held = (self.interval(rng) for _ in range(draws))
        return sum(low <= self.truth <= high for low, high in held) / draws


def coverages() -> list[Coverage]:
    middle, wide = math.exp(0.5**2 / 2), math.exp(1 / 2)
    return [
        Coverage("normal, 20 against 20", 1.0, _means(normal(0), normal(1), 20)),
        Coverage(
            "cost (lognormal 0.5) and 1.3 times it, 20 against 20",
            0.3 * middle,
            _means(cost(0.5), cost(0.5, 1.3), 20),
        ),
        Coverage("cost (lognormal 1.0) and 2 times it, 20 against 20", wide, _means(cost(1), cost(1, 2), 20)),
        Coverage(
            "cost (lognormal 0.5) and 1.3 times it, 5 against 5",
            0.3 * middle,
            _means(cost(0.5), cost(0.5, 1.3), 5),
        ),
        Coverage("success 0.5 and 0.5, 20 against 20", 0.0, _shares(0.5, 0.5, 20)),
        Coverage("success 0.95 and 0.95, 20 against 20", 0.0, _shares(0.95, 0.95, 20)),
        Coverage("success 0.95 and 0.8, 20 against 20", -0.15, _shares(0.95, 0.8, 20)),
        Coverage(
            "cost and 1.3 times it, paired by 20 prompts of 3 samples",
            0.3 * middle * math.exp(0.7**2 / 2),
            _prompts,
        ),
        Coverage("success 0.95 and 0.8, paired by 40 prompts", -0.15, _paired_shares(0.95, 0.8, 40)),
    ]


def _means(baseline: Draw, candidate: Draw, n: int) -> Callable[[np.random.Generator], Interval]:
    return lambda rng: intervals.independent_means(
        baseline(rng, 1, n)[0], candidate(rng, 1, n)[0], LEVEL, rng, RESAMPLES
    )


def _shares(baseline: float, candidate: float, n: int) -> Callable[[np.random.Generator], Interval]:
    return lambda rng: intervals.newcombe(
        (int(rng.binomial(n, baseline)), n), (int(rng.binomial(n, candidate)), n), LEVEL
    )


def _prompts(rng: np.random.Generator) -> Interval:
    prompts = rng.lognormal(0, 0.7, (20, 1))
    baseline, candidate = prompts * cost(0.5)(rng, 20, 3), prompts * cost(0.5, 1.3)(rng, 20, 3)
    return intervals.paired_means((candidate - baseline).mean(axis=1), LEVEL, rng, RESAMPLES)


def _paired_shares(baseline: float, candidate: float, n: int) -> Callable[[np.random.Generator], Interval]:
    def interval(rng: np.random.Generator) -> Interval:
        difference = success(candidate)(rng, n, 1) - success(baseline)(rng, n, 1)
        return intervals.bonett_price(int((difference > 0).sum()), int((difference < 0).sum()), n, LEVEL)

    return interval


@dataclass(frozen=True)
class Replay:
    """A baseline and candidates that are looked at until they are decided, or all samples are there."""

    metric: Metric
    baseline: Draw
    candidates: tuple[Draw, ...]
    samples: int
    cases: int = 1
    resamples: int = RESAMPLES

    def verdicts(self, rng: np.random.Generator) -> tuple[CandidateVerdict, ...]:
        arms = [draw(rng, self.cases, self.samples) for draw in (self.baseline, *self.candidates)]
        schedule = looks(self.samples, cases=self.cases, candidates=len(self.candidates))
        verdict: Verdict | None = None
        for look in schedule:
            base, *others = ([self._taken(values, look.runs)] for values in arms)
            terms = replace(look.terms, resamples=self.resamples)
            names = {str(number): measured for number, measured in enumerate(others)}
            verdict = judge(base, names, look.model_copy(update={"terms": terms}), rng, verdict)
            if not verdict.more_runs:
                break
        assert verdict is not None
        return verdict.candidates

    def _taken(self, values: np.ndarray, runs: int) -> Observations:
        """The first runs of the arm: sample by sample over the cases."""
        return by_case(
            self.metric,
            [
                [float(row[sample]) for sample in range(len(row)) if sample * self.cases + case < runs]
                for case, row in enumerate(values)
            ],
        )

    def many(self, draws: int, seed: int = 1) -> list[tuple[CandidateVerdict, ...]]:
        rng = np.random.default_rng(seed)
        return [self.verdicts(rng) for _ in range(draws)]


def share_decided(outcomes: list[tuple[CandidateVerdict, ...]]) -> float:
    """Of replays in which any candidate was called better or worse."""
    return sum(any(each.verdict != "undecided" for each in every) for every in outcomes) / len(outcomes)


def share_held(outcomes: list[tuple[CandidateVerdict, ...]], truth: float) -> float:
    """Of replays whose interval, at the look that ended them, holds the true difference."""
    found = [every[0].comparisons[0].interval for every in outcomes]
    return sum(each is not None and each.low <= truth <= each.high for each in found) / len(found)


def hunted(curve: list[float], budget: int, rng: np.random.Generator) -> Blame:
    """The result for a run whose forks at the steps 0, 1, 2 … succeed with these probabilities."""
    search = Search(points=tuple(range(len(curve))), runs_left=budget)
    while forks := next_forks(search):
        successes, tries = search.tallies.get(forks.point, (0, 0))
        won = int(rng.binomial(forks.runs, curve[forks.point]))
        search = search.model_copy(
            update={
                "tallies": {**search.tallies, forks.point: (successes + won, tries + forks.runs)},
                "runs_left": search.runs_left - forks.runs,
            }
        )
    return blame(search)


def steps_found(high: float, low: float, draws: int, seed: int = 1) -> tuple[float, float, float]:
    """A fall from `high` to `low` at any of 20 steps, 60 runs: the shares found at the right step and at a
    wrong one, and how many runs it took."""
    rng = np.random.default_rng(seed)
    right = wrong = runs = 0
    for _ in range(draws):
        step = int(rng.integers(1, 20))
        found = hunted([high] * step + [low] * (20 - step), 60, rng)
        after = found.culprit.stretch.after if found.culprit else None
        told = after + 1 if found.verdict == "found" and after is not None else None
        right += told == step
        wrong += told not in (step, None)
        runs += sum(point.tries for point in found.points)
    return right / draws, wrong / draws, runs / draws


def blamed(probability: float, draws: int, seed: int = 1) -> dict[str, float]:
    """How often each verdict falls where every step has the same probability of success; `last`: what
    happened behind the last step is to blame, which is right if the forks succeed and the recorded run did
    not."""
    rng = np.random.default_rng(seed)
    told = [_told(hunted([probability] * 20, 60, rng)) for _ in range(draws)]
    return {verdict: told.count(verdict) / draws for verdict in ("a step", "last", "from-start", "undecided")}


def _told(found: Blame) -> str:
    if found.verdict != "found" or found.culprit is None:
        return found.verdict
    return "last" if found.culprit.stretch.until is None else "a step"


NULLS = {
    "cost, 40 samples": Replay(COST, cost(0.5), (cost(0.5),), 40),
    "cost, 20 samples, three candidates": Replay(COST, cost(0.5), (cost(0.5),) * 3, 20),
    "success 0.9, 40 prompts": Replay(SUCCESS, success(0.9), (success(0.9),), 1, 40),
    "success 0.8, 40 samples": Replay(SUCCESS, success(0.8), (success(0.8),), 40),
    "cost, 20 prompts of 3 samples": Replay(COST, cost(0.5), (cost(0.5),), 3, 20),
}
EFFECT = Replay(COST, cost(0.5), (cost(0.5, 0.6),), 40)
EFFECT_SIZE = -0.4 * math.exp(0.5**2 / 2)


def table(draws: int) -> Iterator[str]:
    yield f"Intervals at 95 %: how often they hold the truth ({10 * draws:,} draws each)"
    for each in coverages():
        yield f"  {each.name:<60}{each.share(10 * draws):7.1%}"
    yield f"No effect, up to four looks, 5 % in all: how often a verdict falls ({draws:,} replays each)"
    for name, null in NULLS.items():
        yield f"  {name:<60}{share_decided(replace(null, resamples=ENOUGH).many(draws)):7.1%}"
    outcomes = replace(EFFECT, resamples=ENOUGH).many(draws)
    runs = sum(every[0].runs for every in outcomes) / draws
    yield f"Cost 40 % lower, up to 40 samples ({draws:,} replays)"
    yield f"  {'found':<60}{share_decided(outcomes):7.1%}"
    yield f"  {'the interval at the end holds the truth':<60}{share_held(outcomes, EFFECT_SIZE):7.1%}"
    yield f"  {'samples per arm, on average':<60}{runs:7.1f}"
    yield f"Blame, 20 steps, at most 60 runs ({draws:,} searches each)"
    for high, low in ((0.9, 0.1), (0.7, 0.3)):
        right, wrong, runs = steps_found(high, low, draws)
        yield (
            f"  {high} falls to {low} at one step: that step found {right:.1%}, another {wrong:.1%}; "
            f"{runs:.1f} runs on average"
        )
    for probability in (0.1, 0.3, 0.5, 0.7, 0.9):
        told = ", ".join(f"{verdict} {share:.1%}" for verdict, share in blamed(probability, draws).items())
        yield f"  {probability} at every step: {told}"


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
        print(line, flush=True)
