"""When to look, and what error each look may make."""

import pytest

from services.replayer.statistics.schedule import looks


def test_the_levels_of_the_looks_and_candidates_add_up_to_the_error() -> None:
    schedule = looks(40, candidates=2, error=0.1)
    assert [look.runs for look in schedule] == [10, 20, 30, 40]
    assert 2 * sum(look.terms.level for look in schedule) == pytest.approx(0.1)


def test_the_last_look_keeps_most_of_the_error_and_further_samples_are_reckoned_at_it() -> None:
    schedule = looks(40)
    levels = [look.terms.level for look in schedule]
    assert levels == sorted(levels)
    assert levels[-1] == pytest.approx(0.05 * (1 - 0.75**2))
    assert {look.terms.planned for look in schedule} == {levels[-1]}


def test_no_look_comes_before_eight_runs() -> None:
    assert [look.runs for look in looks(20)] == [10, 15, 20]
    assert [look.runs for look in looks(5)] == [5]
    assert looks(5)[0].terms.level == pytest.approx(0.05)


def test_looks_take_whole_rounds_of_cases_where_there_are_several_samples() -> None:
    assert [look.runs for look in looks(3, cases=10)] == [10, 20, 30]
    assert [look.runs for look in looks(1, cases=100)] == [25, 50, 75, 100]


def test_each_look_says_how_many_runs_lie_before_the_next() -> None:
    assert [look.more_runs for look in looks(20)] == [5, 5, 0]


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_schedule_of_nothing_is_refused(counts: tuple[int, int, int]) -> None:
    samples, cases, candidates = counts
    with pytest.raises(ValueError, match="at least one of each"):
        looks(samples, cases=cases, candidates=candidates)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_an_error_outside_of_0_to_1_is_refused(error: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        looks(20, error=error)
