"""The verdict over several candidates and metrics, look by look."""

import numpy as np
import pytest

from services.replayer.statistics.observations import Observations
from services.replayer.statistics.schedule import looks
from services.replayer.statistics.verdict import judge
from shared.findings import Verdict
from tests.unit.replayer.statistics.arms import COST, SUCCESS, one_case

LOOKS = looks(20, candidates=2)


def arm(start: float, runs: int, success: float = 1.0) -> list[Observations]:
    cost = [start + run % 5 for run in range(runs)]
    return [one_case(COST, cost), one_case(SUCCESS, [success] * runs)]


def judged(position: int, earlier: Verdict | None = None, **candidates: list[Observations]) -> Verdict:
    look = LOOKS[position]
    return judge(arm(100, look.runs), candidates, look, np.random.default_rng([7, look.runs]), earlier)


def test_sampling_goes_on_while_a_candidate_is_undecided() -> None:
    verdict = judged(0, cheap=arm(50, 10), same=arm(100, 10))
    assert [(each.candidate, each.verdict) for each in verdict.candidates] == [
        ("cheap", "better"),
        ("same", "undecided"),
    ]
    assert (verdict.undecided, verdict.more_runs) == (("same",), 5)
    assert verdict.words == (
        "cheap is better after 10 runs; same is undecided after 10 runs; "
        "5 more runs per arm before the next look"
    )


def test_sampling_ends_when_all_are_decided() -> None:
    assert judged(0, cheap=arm(50, 10), dear=arm(150, 10)).more_runs == 0


def test_sampling_ends_at_the_last_look_with_the_samples_that_would_be_needed() -> None:
    verdict = judged(2, similar=arm(99.5, 20))
    assert (verdict.more_runs, verdict.undecided) == (0, ("similar",))
    needed = verdict.candidates[0].comparisons[0].samples_needed
    assert needed is not None
    assert needed > 20


def test_what_an_earlier_look_decided_stands() -> None:
    first = judged(0, cheap=arm(50, 10), same=arm(100, 10))
    second = judged(1, first, same=arm(100, 15))
    assert second.candidates[0] == first.candidates[0]
    assert [each.runs for each in second.candidates] == [10, 15]
    assert judged(1, first, cheap=arm(150, 15), same=arm(100, 15)) == second


def test_the_first_metric_decides_and_the_others_are_told() -> None:
    candidate = judged(2, cheap=arm(50, 20, success=0.0)).candidates[0]
    assert candidate.verdict == "better"
    assert [each.verdict for each in candidate.comparisons] == ["better", "worse"]


def test_the_interval_has_the_confidence_of_its_look() -> None:
    for position, look in enumerate(LOOKS):
        comparison = judged(position, other=arm(100, look.runs)).candidates[0].comparisons[0]
        assert comparison.confidence == 1 - look.terms.level


def test_the_same_data_and_seed_give_the_same_verdict_and_it_survives_json() -> None:
    verdict = judged(1, other=arm(101, 15))
    assert judged(1, other=arm(101, 15)) == verdict
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_a_candidate_with_other_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match="other has 1 metrics, the baseline 2"):
        judged(0, other=arm(100, 10)[:1])
