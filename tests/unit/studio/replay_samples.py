"""Small diffs, verdicts and replays, as the server answers them."""

from typing import Any

from shared.diff import diff_runs
from shared.diff.models import RunDiff
from shared.findings import (
    ArmSummary,
    Blame,
    CandidateVerdict,
    Comparison,
    Culprit,
    Interval,
    Metric,
    PointProbability,
    Stretch,
    Verdict,
)
from shared.messages import Arm, ReplayRequested, WantedMetric
from shared.replay_results import ReplayResult, RunCounts, RunMeasures, SourceVerification, Verification
from shared.steps import AgentResponse, AgentThought, Divergence, RunRequested, Step, ToolResult, UserRequest
from studio.client.replay_models import Replay, ReplayRun
from tests.unit.studio.client_steps import BEGIN, RUN_ID, run_steps

OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a0001"
REPLAY_ID = "01890a5d-ac96-774b-bcce-b3020990aaaa"
DIVERGENCE = Divergence(
    step=6, cause="tool-result", path="/messages/3/content", diff="--- recorded\n+++ replayed\n-45\n+46"
)


def changed_steps(text: str = "The answer is 46.", result: str = "46") -> list[Step]:
    """The sample run with another model, another result and another answer."""

    def otherwise(step: Step) -> Step:
        match step:
            case RunRequested():
                return step.model_copy(update={"run_id": OTHER_ID, "model": "mistral-small-latest"})
            case AgentThought() | UserRequest():
                return step.model_copy(update={"run_id": OTHER_ID})
            case ToolResult():
                return step.model_copy(update={"run_id": OTHER_ID, "result": result})
            case AgentResponse():
                return step.model_copy(update={"run_id": OTHER_ID, "content": text})
        return step.model_copy(update={"run_id": OTHER_ID})

    return [otherwise(step) for step in run_steps()]


def a_diff(**changed: str) -> RunDiff:
    return diff_runs(run_steps(), changed_steps(**changed))


def comparison(metric: Metric, **changed: Any) -> Comparison:
    arm = ArmSummary(n=20, missing=0, unpaired=0, mean=1.0)
    fields: dict[str, Any] = {
        "baseline": arm,
        "candidate": arm.model_copy(update={"mean": 0.95}),
        "cases": 1,
        "unit": "sample",
        "difference": -0.05,
        "relative": -0.05,
        "interval": Interval(low=-0.28, high=0.162),
        "interval_method": "bootstrap",
        "confidence": 0.978,
        "p_value": 0.875,
        "test": "Boschloo",
        "verdict": "undecided",
        "samples_needed": 197,
        "words": f"undecided: {metric.name} 5 points lower",
    }
    return Comparison(metric=metric, **(fields | changed))


def a_verdict(name: str = "replay") -> Verdict:
    success = comparison(Metric(name="success", better="higher", binary=True))
    cost = comparison(
        Metric(name="cost_usd", better="lower", unit="USD"),
        baseline=ArmSummary(n=20, missing=0, unpaired=0, mean=0.00356),
        candidate=ArmSummary(n=20, missing=0, unpaired=0, mean=0.000135),
        difference=-0.003425,
        relative=-0.962,
        interval=Interval(low=-0.00343, high=-0.00342),
        p_value=0.0002,
        verdict="better",
        samples_needed=None,
    )
    rounds = comparison(Metric(name="rounds", better="lower"), difference=None, relative=None, interval=None)
    candidate = CandidateVerdict(
        candidate=name, verdict="undecided", runs=20, comparisons=(success, cost, rounds)
    )
    return Verdict(runs=20, candidates=(candidate,), more_runs=0, words="undecided")


def a_blame() -> Blame:
    points = (
        PointProbability(
            point=0, successes=5, tries=5, probability=1.0, interval=Interval(low=0.566, high=1)
        ),
        PointProbability(
            point=5, successes=1, tries=5, probability=0.2, interval=Interval(low=0.0, high=0.6)
        ),
    )
    culprit = Culprit(stretch=Stretch(after=0, until=5), probability=0.97, drop=0.8, interval=None)
    within = Stretch(after=0, until=5)
    return Blame(verdict="found", points=points, culprit=culprit, within=within, words="it is step 5")


def a_result(**fields: Any) -> ReplayResult:
    counts = RunCounts(most=2, planned=2, ended=2, completed=2, failed=0, cancelled=0)
    return ReplayResult(at=BEGIN, runs=counts, arms=(), cost_usd="0.0024", unpriced=0, **fields)


def a_verification(equal: int, *parted: Divergence) -> ReplayResult:
    named = tuple(
        SourceVerification(source_run_id=RUN_ID, run_id=OTHER_ID, divergence=each, error=None)
        for each in parted
    )
    found = Verification(equal=equal, diverged=len(parted), failed=0, not_equal=named)
    return a_result(verification=found)


def a_replay(**changed: Any) -> Replay:
    mode = changed.get("mode", "rerun")
    wanted = (WantedMetric(name="success", label="success", higher_is_better=True),)
    order = ReplayRequested(
        replay_id=REPLAY_ID,
        project="default",
        at=BEGIN,
        who="key",
        mode=mode,
        sources=(RUN_ID,),
        arms=(Arm(name="replay"),),
        metrics=wanted,
    )
    run = ReplayRun(
        run_id=OTHER_ID,
        source_run_id=RUN_ID,
        arm="replay",
        status="completed",
        measures=RunMeasures(values={"success": 1.0}, divergence=DIVERGENCE),
    )
    fields = {
        "replay_id": REPLAY_ID,
        "mode": mode,
        "status": "completed",
        "run_id": RUN_ID,
        "created_at": BEGIN,
        "arms": ("replay",),
        "order": order,
        "items": (run,),
        "result": a_result(),
        "runs": a_result().runs,
    }
    return Replay.model_validate(fields | changed)
