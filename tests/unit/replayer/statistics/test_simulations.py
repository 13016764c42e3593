"""What the statistics promise, held against known truths with fixed seeds."""

import math

import numpy as np
import pytest

from services.replayer.statistics.comparison import compare
from services.replayer.statistics.terms import Terms
from tests.unit.replayer.statistics.arms import COST, SUCCESS, one_case
from tests.unit.replayer.statistics.simulations import (
    EFFECT,
    EFFECT_SIZE,
    NULLS,
    Coverage,
    blamed,
    coverages,
    share_decided,
    share_held,
    steps_found,
)


@pytest.mark.parametrize("each", coverages(), ids=lambda each: each.name)
def test_intervals_at_95_percent_hold_the_truth_in_93_of_100_draws_and_more(each: Coverage) -> None:
    assert each.share(800) >= 0.93


@pytest.mark.parametrize("name", ["cost, 40 samples", "success 0.9, 40 prompts"])
def test_without_an_effect_no_more_than_the_allowed_share_of_replays_ends_in_a_verdict(name: str) -> None:
    draws = 200
    monte_carlo = 2 * math.sqrt(0.05 * 0.95 / draws)
    assert share_decided(NULLS[name].many(draws)) <= 0.05 + monte_carlo


def test_the_error_is_kept_over_several_candidates() -> None:
    assert share_decided(NULLS["cost, 20 samples, three candidates"].many(100)) <= 0.05 + 0.044


@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95])
def test_two_shares_that_are_the_same_are_told_apart_in_at_most_5_of_100(probability: float) -> None:
    """Not drawn: all outcomes of eight against eight, each with its probability."""
    n = 8
    chance = [
        math.comb(n, wins) * probability**wins * (1 - probability) ** (n - wins) for wins in range(n + 1)
    ]
    decided = sum(
        2 * chance[low] * chance[high]
        for low in range(n + 1)
        for high in range(low)
        if _told_apart(low, high, n)
    )
    assert 0 < decided <= 0.05


def _told_apart(low: int, high: int, n: int) -> bool:
    worse, better = (one_case(SUCCESS, [1.0] * wins + [0.0] * (n - wins)) for wins in (low, high))
    return compare(worse, better, np.random.default_rng(1)).verdict != "undecided"


def test_a_cost_that_is_40_percent_lower_is_found_early_and_its_interval_holds_where_it_stops() -> None:
    outcomes = EFFECT.many(200)
    assert share_decided(outcomes) >= 0.9
    assert {every[0].verdict for every in outcomes} <= {"better", "undecided"}
    assert share_held(outcomes, EFFECT_SIZE) >= 0.95
    assert sum(every[0].runs for every in outcomes) / len(outcomes) < 32


def test_the_step_where_success_falls_is_found_in_nine_searches_of_ten_and_more() -> None:
    right, wrong, runs = steps_found(0.9, 0.1, 300)
    assert right >= 0.9
    assert wrong <= 0.02
    assert runs <= 60


def test_a_run_that_never_succeeds_fails_from_the_start() -> None:
    told = blamed(0.1, 150)
    assert told["from-start"] >= 0.95
    assert told["a step"] == 0


@pytest.mark.parametrize("probability", [0.3, 0.5, 0.7, 0.9])
def test_where_all_steps_are_alike_hardly_ever_one_of_them_is_blamed(probability: float) -> None:
    assert blamed(probability, 150)["a step"] <= 0.04


def test_with_the_samples_that_undecided_names_such_a_difference_is_seen_eight_times_of_ten() -> None:
    rng = np.random.default_rng(1)
    spread = math.sqrt(19 / 20)  # of ten each to either side: the variance is 1
    left, right = (one_case(COST, [middle - spread, middle + spread] * 10) for middle in (10.0, 10.5))
    found = compare(left, right, rng)
    assert (found.verdict, found.samples_needed) == ("undecided", 63)
    seen = sum(_seen(rng, 63) for _ in range(150))
    assert 0.72 <= seen / 150 <= 0.9


def _seen(rng: np.random.Generator, n: int) -> bool:
    baseline, candidate = one_case(COST, rng.normal(10, 1, n)), one_case(COST, rng.normal(10.5, 1, n))
    return compare(baseline, candidate, rng, Terms(resamples=399)).verdict != "undecided"
