"""One metric of two arms: figures that can be checked by hand, and data that bear little or nothing."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.replayer.statistics.comparison import compare
from services.replayer.statistics.observations import Observations
from services.replayer.statistics.terms import Terms
from shared.findings import Comparison, Metric
from tests.unit.replayer.statistics.arms import COST, SCORE, SUCCESS, TOKENS, by_case, one_case


def compared(baseline: Observations, candidate: Observations, level: float = 0.05) -> Comparison:
    return compare(
        baseline, candidate, np.random.default_rng(4), Terms(level=level, planned=level, resamples=999)
    )


def shares(successes: int, n: int) -> Observations:
    return one_case(SUCCESS, [1.0] * successes + [0.0] * (n - successes))


def test_the_means_their_difference_and_its_share_of_the_baseline() -> None:
    found = compared(one_case(COST, [2, 4, 6]), one_case(COST, [1, 2, 3]))
    assert (found.baseline.mean, found.candidate.mean) == (4, 2)
    assert (found.difference, found.relative) == (-2, -0.5)


def test_the_permutation_test_of_four_against_four_that_do_not_overlap_is_exact() -> None:
    found = compared(one_case(TOKENS, [1, 2, 3, 4]), one_case(TOKENS, [11, 12, 13, 14]))
    assert found.p_value == pytest.approx(2 / math.comb(8, 4))
    assert (found.test, found.verdict) == ("permutation", "worse")


def test_flipping_the_signs_of_six_equal_ways_down_is_exact() -> None:
    found = compared(
        by_case(TOKENS, [[20 + case] for case in range(6)]), by_case(TOKENS, [[case] for case in range(6)])
    )
    assert found.p_value == pytest.approx(2 / 2**6)
    assert (found.test, found.verdict, found.unit, found.cases) == (
        "sign-flip permutation",
        "better",
        "pair",
        6,
    )


def test_pairs_of_successes_are_judged_by_mcnemar() -> None:
    found = compared(by_case(SUCCESS, [[1.0]] * 20), by_case(SUCCESS, [[0.0]] * 8 + [[1.0]] * 12))
    assert found.p_value == pytest.approx(2 / 2**8)
    assert (found.test, found.interval_method, found.verdict) == ("McNemar", "Bonett-Price", "worse")
    assert found.interval is not None
    # (1 - 9) / 22 and its error by hand
    half = 1.959964 * math.sqrt((10 / 22 - (8 / 22) ** 2) / 22)
    assert found.interval.low == pytest.approx(-8 / 22 - half)
    assert found.interval.high == pytest.approx(-8 / 22 + half)


def test_two_shares_have_newcombes_interval_and_boschloos_test() -> None:
    found = compared(shares(48, 80), shares(56, 80))
    assert (found.test, found.interval_method, found.verdict) == ("Boschloo", "Newcombe", "undecided")
    assert found.interval is not None
    # Newcombe 1998, Statistics in Medicine 17, table II, method 10: 56/70 against 48/80
    published = compared(shares(48, 80), shares(56, 70)).interval
    assert published is not None
    assert (round(published.low, 4), round(published.high, 4)) == (0.0524, 0.3339)


def test_many_runs_are_judged_by_fishers_test() -> None:
    assert compared(shares(90, 150), shares(120, 150)).test == "Fisher"


def test_many_cases_of_several_samples_are_judged_by_the_means_of_the_cases() -> None:
    found = compared(by_case(COST, [[1, 3]] * 11 + [[2, 2]]), by_case(COST, [[2, 4, 6]] * 12))
    assert (found.unit, found.cases, found.baseline.n, found.candidate.n) == ("case", 12, 24, 36)
    assert found.difference == pytest.approx(2)


def test_few_cases_of_several_samples_are_judged_in_pairs_within_each() -> None:
    found = compared(by_case(COST, [[1, 2], [10, 11]]), by_case(COST, [[3, 4], [12, 13]]))
    assert (found.unit, found.baseline.n, found.difference) == ("pair", 4, 2)


def test_pairing_sees_what_the_spread_between_the_prompts_hides() -> None:
    prompts = [10.0 * case for case in range(1, 11)]
    cheaper = [0.9 * cost for cost in prompts]
    assert (
        compared(by_case(COST, [[c] for c in prompts]), by_case(COST, [[c] for c in cheaper])).verdict
        == "better"
    )
    assert compared(one_case(COST, prompts), one_case(COST, cheaper)).verdict == "undecided"


def test_a_run_without_a_value_is_missing_and_not_zero() -> None:
    found = compared(one_case(COST, [4, None, 4, 5]), one_case(COST, [4, 4, None, None, 5]))
    assert found.baseline.mean == found.candidate.mean == pytest.approx(13 / 3)
    assert (found.baseline.missing, found.candidate.missing) == (1, 2)
    assert "(runs without a value: 1 of the baseline, 2 of the candidate)" in found.words


def test_a_case_that_one_arm_has_no_value_of_is_left_out_of_both() -> None:
    found = compared(by_case(COST, [[1], [2], [30]]), by_case(COST, [[2], [3], [None]]))
    assert (found.cases, found.difference, found.baseline.unpaired) == (2, 1, 1)


def test_no_value_at_all_is_said() -> None:
    found = compared(one_case(COST, [None, None]), one_case(COST, [1, 2]))
    assert (found.verdict, found.difference, found.interval, found.p_value) == ("undecided", None, None, 1)
    assert found.words.startswith("undecided: no value of cost to compare")


@pytest.mark.parametrize("n", [1, 10])
def test_equal_values_of_both_arms_decide_nothing_and_promise_nothing(n: int) -> None:
    found = compared(one_case(COST, [0.1] * n), one_case(COST, [0.1] * n))
    assert (found.verdict, found.interval, found.samples_needed) == ("undecided", None, None)


def test_arms_that_never_vary_differ_without_an_interval_of_width_zero() -> None:
    found = compared(one_case(TOKENS, [100] * 10), one_case(TOKENS, [90] * 10))
    assert (found.verdict, found.difference, found.interval) == ("better", -10, None)
    few = compared(one_case(TOKENS, [100] * 3), one_case(TOKENS, [90] * 3))
    assert (few.verdict, few.samples_needed) == (
        "undecided",
        4,
    )  # 2 / (8 over 4) = 0.029 is the first below 0.05


def test_a_single_sample_of_each_is_no_ground_for_an_interval() -> None:
    found = compared(one_case(COST, [1]), one_case(COST, [2]))
    assert (found.verdict, found.interval, found.p_value) == ("undecided", None, 1)


def test_a_bounded_metric_without_spread_has_the_interval_of_what_may_be_unseen() -> None:
    found = compared(one_case(SCORE, [1] * 20), one_case(SCORE, [1] * 20))
    hidden = 1 - 0.025 ** (1 / 20)
    assert found.interval is not None
    assert found.interval.high == -found.interval.low == pytest.approx(hidden)


def test_no_interval_of_a_bounded_metric_leaves_its_bounds() -> None:
    found = compared(one_case(SCORE, [0, 0, 0.1]), one_case(SCORE, [1, 1, 0.9]))
    assert found.interval is not None
    assert found.interval.high == 1


def test_undecided_names_the_samples_that_would_decide() -> None:
    base, other = [9.0, 11.0] * 10, [9.5, 11.5] * 10
    found = compared(one_case(COST, base), one_case(COST, other))
    variance = 2 * 20 / 19
    needed = math.ceil((1.959964 + 0.841621) ** 2 * variance / 0.5**2)
    assert (found.verdict, found.samples_needed) == ("undecided", needed)
    assert f"{needed - 20} more per arm would show such a difference" in found.words


def test_words_for_people() -> None:
    tokens = compared(
        one_case(TOKENS, [1000, 1010, 990, 1000, 1005]), one_case(TOKENS, [900, 910, 905, 890, 900])
    )
    assert tokens.words.startswith("better: tokens 100 lower, 901 instead of 1,001 (−9.99 %) [−1")
    assert tokens.words.endswith("at 95 %, 5 samples each")
    success = compared(shares(20, 20), shares(5, 20)).words
    assert success.startswith("worse: success 75 points lower, 25 % instead of 100 % [−88.8, −47.8] at 95 %")


def test_arms_of_different_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="the same metric, not cost and tokens"):
        compared(one_case(COST, [1]), one_case(TOKENS, [1]))


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        (SUCCESS, 0.5, "neither 0 nor 1"),
        (SCORE, 1.5, "outside 0 to 1"),
        (COST, math.nan, "None"),
        (COST, math.inf, "None"),
    ],
)
def test_a_value_that_the_metric_cannot_have_is_refused(metric: Metric, value: float, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        one_case(metric, [value])


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CASES = st.lists(st.lists(st.none() | NUMBERS, max_size=4), max_size=14)
SINGLE = st.lists(st.lists(NUMBERS, min_size=2, max_size=9), min_size=1, max_size=1)
SHARES = st.lists(st.lists(st.none() | st.sampled_from([0.0, 1.0]), max_size=4), max_size=14)


@settings(max_examples=150, deadline=None)
@given(
    arms=st.tuples(CASES, CASES, st.just(COST))
    | st.tuples(SINGLE, SINGLE, st.just(COST))
    | st.tuples(SHARES, SHARES, st.sampled_from([SUCCESS, SCORE]))
)
def test_any_finite_values_give_a_finite_result_and_swapping_the_arms_turns_it_round(
    arms: tuple[list[list[float | None]], list[list[float | None]], Metric],
) -> None:
    left, right, metric = arms
    baseline, candidate = by_case(metric, left), by_case(metric, right)
    terms = Terms(resamples=99)
    there = compare(baseline, candidate, np.random.default_rng(1), terms)
    back = compare(candidate, baseline, np.random.default_rng(1), terms)
    json.dumps(there.model_dump(mode="json"), allow_nan=False)
    assert Comparison.model_validate_json(there.model_dump_json()) == there
    turned = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert back.verdict == turned[there.verdict]
    if there.difference is None or back.difference is None:
        assert there.difference is back.difference is None
    else:
        assert back.difference == -there.difference
    if there.difference and there.interval and back.interval:
        assert (back.p_value, back.samples_needed) == (there.p_value, there.samples_needed)
        assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)
