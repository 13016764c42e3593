"""The search for the step to blame: where it forks next, and what it concludes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.replayer.statistics.bisection import Forks, next_forks
from services.replayer.statistics.blame import blame
from services.replayer.statistics.change_point import Tally, place_probabilities
from services.replayer.statistics.search import Search
from shared.findings import Stretch

POINTS = (2, 5, 8, 11, 14, 17, 20)


def search(tallies: dict[int, Tally], runs_left: int = 60) -> Search:
    return Search(points=POINTS, tallies=tallies, runs_left=runs_left)


def test_the_first_forks_halve_the_row() -> None:
    assert next_forks(search({})) == Forks(point=11, runs=5)


def test_success_in_the_middle_moves_the_search_behind_it_and_failure_before_it() -> None:
    for successes, side in ((5, {14, 17, 20}), (0, {2, 5, 8})):
        forks = next_forks(search({11: (successes, 5)}))
        assert forks is not None
        assert forks.point in side


def test_no_more_runs_are_asked_for_than_the_budget_has() -> None:
    assert next_forks(search({}, runs_left=3)) == Forks(point=11, runs=3)
    assert next_forks(search({}, runs_left=0)) is None


def test_a_probable_place_is_tried_at_its_neighbour_with_fewer_tries() -> None:
    before_it_only = search({8: (10, 10), 14: (0, 10)})
    assert next_forks(before_it_only) == Forks(point=11, runs=5)
    assert next_forks(search({2: (5, 5), 8: (4, 5), 11: (1, 2), 14: (0, 10), 20: (0, 5)})) == Forks(
        point=11, runs=5
    )


def test_a_plain_fall_between_neighbours_is_the_culprit() -> None:
    found = blame(search({8: (9, 10), 11: (0, 10)}))
    assert found.verdict == "found"
    assert found.culprit is not None
    assert found.culprit.stretch == found.within == Stretch(after=8, until=11)
    assert found.culprit.drop == pytest.approx(0.9)
    assert found.culprit.interval is not None
    assert found.culprit.interval.low > 0.4
    assert next_forks(search({8: (9, 10), 11: (0, 10)})) is None
    assert found.words.startswith(
        "to blame is what happened behind step 8, up to step 11: forked behind step 8, 9 of 10 runs succeed; "
        "forked behind step 11, 0 of 10 runs succeed, a drop of 90 points ["
    )


def test_a_fall_behind_the_last_point_is_told_as_such() -> None:
    found = blame(search({11: (5, 5), 20: (10, 10)}))
    assert found.verdict == "found"
    assert found.culprit is not None
    assert found.culprit.stretch == Stretch(after=20, until=None)
    assert found.culprit.drop == 1
    assert "behind step 20, up to the end" in found.words


def test_a_run_that_fails_from_the_start_has_no_step_to_blame() -> None:
    found = blame(search({2: (1, 15), 11: (0, 5)}))
    assert (found.verdict, found.culprit) == ("from-start", None)
    assert found.words.startswith(
        "no step is to blame, the run fails from the start: forked behind step 2, 1 of 15"
    )


def test_success_by_chance_everywhere_is_undecided() -> None:
    found = blame(search(dict.fromkeys(POINTS, (5, 10))))
    assert found.verdict == "undecided"
    assert found.words.startswith("undecided after 70 runs: no stretch stands out")


def test_a_fall_between_points_that_are_no_neighbours_is_not_enough() -> None:
    found = blame(search({2: (10, 10), 20: (0, 10)}))
    assert found.verdict == "undecided"
    assert found.within == Stretch(after=2, until=20)


def test_every_point_that_was_tried_has_its_probability_with_wilsons_interval() -> None:
    point = blame(search({5: (8, 10)})).points[0]
    assert (point.point, point.successes, point.tries, point.probability) == (5, 8, 10, 0.8)
    assert (round(point.interval.low, 4), round(point.interval.high, 4)) == (0.4902, 0.9433)


def test_without_tries_each_end_has_a_fifth_and_the_places_between_share_the_rest() -> None:
    assert place_probabilities([(0, 0)] * 4) == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2])
    assert place_probabilities([(0, 0)]) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"points": (5, 2)}, "must ascend"),
        ({"points": ()}, "at least 1 item"),
        ({"tallies": {3: (0, 1)}}, "none of the points"),
        ({"tallies": {2: (2, 1)}}, "2 of 1 tries"),
    ],
)
def test_a_search_that_cannot_be_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Search.model_validate({"points": POINTS, "runs_left": 5, **fields})


@given(
    tallies=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=30),
    runs_left=st.integers(0, 20),
)
def test_any_tallies_give_a_finite_result_and_a_fork_within_the_budget(
    tallies: list[tuple[int, int]], runs_left: int
) -> None:
    counted = {3 * index: (won, won + lost) for index, (won, lost) in enumerate(tallies) if won + lost}
    any_search = Search(points=tuple(range(0, 3 * len(tallies), 3)), tallies=counted, runs_left=runs_left)
    json.dumps(blame(any_search).model_dump(mode="json"), allow_nan=False)
    forks = next_forks(any_search)
    assert forks is None or (forks.point in any_search.points and 0 < forks.runs <= runs_left)
