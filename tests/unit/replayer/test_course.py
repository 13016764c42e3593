"""What a replay does next follows from its order and its runs: samples in looks, forks at steps."""

import random
from collections.abc import Callable
from decimal import Decimal

import pytest

from services.replayer.course import next_course
from services.replayer.replay_runs import Planned, ReplayRun, most_runs
from services.replayer.summary import result, trouble
from services.replayer.verdicts import blame_points
from shared.findings import Blame, Stretch, Verdict
from shared.messages import Arm, ReplayRequested, WantedMetric
from shared.replay_results import RunMeasures, Trouble
from shared.run_state import fold
from shared.steps import RunStatus, now
from tests.support.replayer import BASELINE, CANDIDATE, SUCCESS, TOKENS, failing_after_rounds, order
from tests.support.steps import new_key, requested

Values = Callable[[Planned], dict[str, float | None]]
SOURCE = new_key().run_id


def ended(asked: ReplayRequested, planned: Planned, values: dict[str, float | None]) -> ReplayRun:
    measures = RunMeasures(values=values)
    return ReplayRun(planned.run_id(asked), planned, RunStatus.COMPLETED, measures)


def played(asked: ReplayRequested, values: Values) -> tuple[list[ReplayRun], Verdict | None]:
    """To the end, as the service does it: plan, wait for all, look again."""
    runs: list[ReplayRun] = []
    course = next_course(asked, runs)
    while course.plan:
        runs += [ended(asked, planned, values(planned)) for planned in course.plan]
        course = next_course(asked, runs, course.verdict)
    assert len({run.run_id for run in runs}) == len(runs)
    return runs, course.verdict


def searched(asked: ReplayRequested, values: Values, points: list[int]) -> tuple[list[ReplayRun], Blame]:
    runs: list[ReplayRun] = []
    course = next_course(asked, runs, points=points)
    while course.plan:
        runs += [ended(asked, planned, values(planned)) for planned in course.plan]
        course = next_course(asked, runs, points=points)
    assert course.blame is not None
    assert len({run.run_id for run in runs}) == len(runs) <= most_runs(asked)
    return runs, course.blame


def test_one_arm_is_sampled_in_one_go_and_gets_no_verdict() -> None:
    asked = order(SOURCE, new_key().run_id, samples=3)
    runs, verdict = played(asked, lambda _: {"success": 1.0})
    assert ([run.planned.arm for run in runs], verdict) == (["replay"] * 6, None)


def test_a_verification_replays_each_source_once() -> None:
    asked = order(SOURCE, new_key().run_id, mode="verify", samples=7, metrics=())
    assert len(played(asked, lambda _: {})[0]) == 2 == most_runs(asked)


def test_a_plain_difference_stops_early_and_no_difference_takes_all_samples() -> None:
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=80)
    runs, verdict = played(asked, lambda run: {"success": float(run.arm == "candidate"), "tokens": 5.0})
    assert verdict is not None
    assert ([each.verdict for each in verdict.candidates], len(runs) < 160) == (["better"], True)
    runs, verdict = played(asked, lambda run: {"success": float(run.sample % 2), "tokens": 5.0})
    assert verdict is not None
    assert ([each.verdict for each in verdict.candidates], len(runs)) == (["undecided"], 160)


def test_without_early_stopping_all_samples_are_taken() -> None:
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=40, stop_early=False)
    runs, verdict = played(asked, lambda run: {"success": float(run.arm == "candidate"), "tokens": 5.0})
    assert (len(runs), verdict is not None and verdict.more_runs) == (80, 0)


def test_a_candidate_that_is_decided_gets_no_further_samples() -> None:
    arms = (BASELINE, Arm(name="plain"), Arm(name="same"))
    asked = order(SOURCE, arms=arms, samples=80)
    chance = random.Random(7)
    runs, verdict = played(
        asked, lambda run: {"success": 0.0 if run.arm == "plain" else float(chance.random() < 0.9)}
    )
    by_arm = {name: sum(run.planned.arm == name for run in runs) for name in ("baseline", "plain", "same")}
    assert by_arm["plain"] < by_arm["same"] == by_arm["baseline"] == 80
    assert verdict is not None
    assert {each.candidate: each.verdict for each in verdict.candidates} == {
        "plain": "worse",
        "same": "undecided",
    }


def test_the_same_runs_give_the_same_verdict_in_whatever_order_they_are_read() -> None:
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=20, stop_early=False, metrics=(TOKENS,))
    chance = random.Random(3)
    runs, verdict = played(asked, lambda _: {"tokens": chance.gauss(100, 9)})
    shuffled = random.Random(1).sample(runs, len(runs))
    assert next_course(asked, shuffled).verdict == verdict


def test_an_expression_of_true_and_false_is_a_share() -> None:
    metric = WantedMetric(
        name="expression", label="short", higher_is_better=True, expression="len(answer) < 9"
    )
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=20, metrics=(metric,))
    _, verdict = played(asked, lambda run: {"short": float(run.arm == "candidate")})
    assert verdict is not None
    assert verdict.candidates[0].comparisons[0].metric.binary


def test_runs_without_a_value_are_missing_and_decide_nothing() -> None:
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=10)
    _, verdict = played(asked, lambda _: {"success": None})
    assert verdict is not None
    comparison = verdict.candidates[0].comparisons[0]
    assert (comparison.verdict, comparison.baseline.missing) == ("undecided", 10)


@pytest.mark.parametrize("culprit", [0, 2, 5, 8])
def test_the_step_to_blame_is_found_wherever_it_is(culprit: int) -> None:
    points = [0, 5, 8, 11, 14, 17, 20, 23, 26]
    asked = order(SOURCE, mode="blame", samples=5, most_runs=80, metrics=(SUCCESS,))
    chance = random.Random(culprit)

    def values(run: Planned) -> dict[str, float | None]:
        share = 0.95 if (run.fork_step or 0) <= points[culprit] else 0.05
        return {"success": float(chance.random() < share)}

    _, blame = searched(asked, values, points)
    until = points[culprit + 1] if culprit + 1 < len(points) else None
    assert blame.culprit is not None
    assert (blame.verdict, blame.culprit.stretch) == ("found", Stretch(after=points[culprit], until=until))


def test_a_low_score_is_a_failure_where_lower_is_worse_and_a_success_where_it_is_better() -> None:
    points = [0, 5, 8]
    asked = order(SOURCE, mode="blame", samples=5, threshold=100.0, metrics=(TOKENS,))
    _, blame = searched(asked, lambda run: {"tokens": 90.0 if run.fork_step == 0 else 110.0}, points)
    assert blame.culprit is not None
    assert blame.culprit.stretch == Stretch(after=0, until=5)


def test_runs_that_are_gone_say_nothing_about_a_step_and_use_up_the_budget() -> None:
    asked = order(SOURCE, mode="blame", samples=5, most_runs=12, metrics=(SUCCESS,))
    runs: list[ReplayRun] = []
    while plan := next_course(asked, runs, points=[0, 5]).plan:
        lost = RunMeasures(error=Trouble(type="gone", message="there is no run"))
        runs += [ReplayRun(run.run_id(asked), run, RunStatus.FAILED, lost) for run in plan]
    blame = next_course(asked, runs, points=[0, 5]).blame
    assert blame is not None
    assert (len(runs), blame.verdict, blame.points) == (12, "undecided", ())


def test_points_to_fork_at_are_those_before_the_model_is_asked() -> None:
    key = new_key()
    [steps] = failing_after_rounds(2)(key, requested(key))
    assert blame_points([requested(key), *steps]) == [0, 5, 8]
    assert fold([requested(key), *steps]).finished is not None


def test_the_result_counts_and_sums_what_is_known() -> None:
    asked = order(SOURCE, arms=(BASELINE, CANDIDATE), samples=2)
    runs, verdict = played(asked, lambda run: {"success": 1.0, "tokens": None if run.sample else 7.0})
    told = result(asked, runs, 4, now(), verdict=verdict)
    assert (told.runs.most, told.runs.planned, told.runs.ended, told.runs.completed) == (4, 4, 4, 4)
    assert (told.cost_usd, told.unpriced) == (Decimal(), 4)
    tokens = told.arms[0].metrics[1]
    assert (tokens.n, tokens.missing, tokens.mean) == (1, 1, 7.0)
    assert trouble(runs) is None


def test_a_replay_of_which_no_run_could_be_made_has_failed_and_says_why() -> None:
    asked = order(SOURCE)
    planned = Planned(0, "replay", 0)
    lost = RunMeasures(error=Trouble(type="gone", message="run 7 was deleted"))
    runs = [ReplayRun(planned.run_id(asked), planned, RunStatus.FAILED, lost)]
    failure = trouble(runs)
    assert failure is not None
    assert failure.message == "nothing came of all 1 runs: run 7 was deleted"
    assert trouble([*runs, ended(asked, planned, {})]) is None
