"""Replays as the API's description shows them: one run, replayed with other instructions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from services.gateway.problems import Problem, invalid
from services.gateway.replays import refusals
from services.gateway.replays.views import Lineage, LineageRun, ReplayDetail, ReplayRun
from shared.diff.models import RunDiff
from shared.messages import Arm, Changes, ReplayRequested, WantedMetric
from shared.replay_results import ArmResult, MetricSummary, ReplayResult, RunCounts, RunMeasures
from shared.steps import Edit, RunStatus

REPLAY_ID: Final = "019a9f1c-9999-7b7e-9a56-6f4a3c1d2e5f"
AT: Final = datetime(2026, 11, 20, 8, 31, tzinfo=UTC)
END: Final = AT + timedelta(seconds=2)
USD: Final = Decimal("0.001176")
INSTRUCTIONS: Final = "Answer with the number alone."
ACCEPTED: Final = {"replay_id": REPLAY_ID, "status": "queued"}


def inputs(run_id: str) -> dict[str, tuple[str, dict[str, Any]]]:
    smaller = {"name": "small", "changes": {"model": "mistral-small-latest"}}
    cooler = {"name": "cold", "changes": {"parameters": {"temperature": 0}}}
    edit = {"step": 5, "field": "result", "value": "5 + 10 = 16"}
    return {
        "verify": ("Would it ask the same again?", {"run_id": run_id, "mode": "verify"}),
        "changed": (
            "Once more, with other instructions",
            {"run_id": run_id, "changes": {"instructions": INSTRUCTIONS}},
        ),
        "compared": (
            "Two candidates against the run as it was, 20 times each",
            {
                "run_id": run_id,
                "candidates": [smaller, cooler],
                "samples": 20,
                "metrics": [{"name": "contains", "expected": "15"}, {"name": "cost_usd"}],
            },
        ),
        "fork": (
            "From step 5 on, with another result of the tool",
            {"run_id": run_id, "mode": "fork", "step": 5, "edits": [edit]},
        ),
    }


def override(run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "override_params": {"temperature": 0, "random_seed": 0}}


def order(run_id: str) -> ReplayRequested:
    return ReplayRequested(
        replay_id=REPLAY_ID,
        project="default",
        at=AT,
        who="key laptop (k3v9x2)",
        mode="rerun",
        sources=(run_id,),
        arms=(Arm(name="replay", changes=Changes(instructions=INSTRUCTIONS)),),
        metrics=(
            WantedMetric(name="success", label="success", higher_is_better=True),
            WantedMetric(name="cost_usd", label="cost_usd", higher_is_better=False),
        ),
    )


def _fields(asked: ReplayRequested) -> dict[str, Any]:
    return {
        "replay_id": REPLAY_ID,
        "mode": asked.mode,
        "run_id": asked.sources[0],
        "sources": 1,
        "arms": ("replay",),
        "samples": 1,
        "fork_step": None,
        "metadata": {},
        "created_at": AT,
        "words": None,
        "error": None,
        "order": asked,
    }


def queued(run_id: str) -> ReplayDetail:
    nothing: dict[str, Any] = {"runs": None, "result": None, "items": (), "next_cursor": None, "diff": None}
    return ReplayDetail(**_fields(order(run_id)), **nothing, status="queued", finished_at=None)


def replay(run_id: str, other_id: str, diff: RunDiff) -> ReplayDetail:
    counts = RunCounts(most=1, planned=1, ended=1, completed=1, failed=0, cancelled=0)
    values = {"success": 1.0, "cost_usd": float(USD)}
    summaries = tuple(
        MetricSummary(label=label, n=1, missing=0, mean=value, least=value, greatest=value)
        for label, value in values.items()
    )
    arm = ArmResult(name="replay", runs=1, failed=0, cost_usd=USD, unpriced=0, metrics=summaries)
    run = ReplayRun(
        run_id=other_id,
        source_run_id=run_id,
        arm="replay",
        sample=0,
        fork_step=None,
        status=RunStatus.COMPLETED,
        measures=RunMeasures(cost_usd=USD, latency_ms=987, tokens=542, rounds=1, tool_calls=1, values=values),
        requested_at=AT + timedelta(milliseconds=20),
        ended_at=END,
        has_diff=True,
    )
    return ReplayDetail(
        **_fields(order(run_id)),
        status="completed",
        finished_at=END,
        runs=counts,
        result=ReplayResult(at=END, runs=counts, arms=(arm,), cost_usd=USD, unpriced=0),
        items=(run,),
        next_cursor=None,
        diff=diff,
    )


def lineage(run_id: str, other_id: str) -> Lineage:
    same: dict[str, Any] = {"agent": "assistant", "model": "mistral-large-latest", "total_cost_usd": USD}
    same["status"] = RunStatus.COMPLETED
    fork = LineageRun(
        run_id=other_id,
        source_run_id=run_id,
        mode="fork",
        replay_id=REPLAY_ID,
        fork_step=5,
        edits=(Edit(step=5, field="result", value="5 + 10 = 16"),),
        arm="replay",
        sample=0,
        replays=(),
        more=0,
        **same,
    )
    nothing = dict.fromkeys(("source_run_id", "mode", "replay_id", "fork_step", "arm", "sample"))
    root = LineageRun(run_id=run_id, edits=(), replays=(fork,), more=0, **nothing, **same)
    return Lineage(root=root, runs=2)


def problems(run_id: str) -> dict[str, Problem]:
    return {
        "no-such-replay": refusals.no_such_replay(REPLAY_ID),
        "no-such-diff": refusals.no_such_diff(run_id),
        "replay-finished": refusals.finished("completed"),
        "replay-unfinished": refusals.unfinished(REPLAY_ID),
        "replay-not-confirmed": refusals.not_confirmed(REPLAY_ID),
        "source-active": refusals.still_active(run_id, "running"),
        "source-verified": refusals.a_verification("run_id", REPLAY_ID, run_id),
        "bad-fork-step": invalid(
            "step", "step 4 is none after which the run could go on by itself; fork at step 3 or 5"
        ),
        "live-irreversible": invalid(
            "tools.*",
            "send_mail cannot be undone, and is called only if it is named itself: add what to do with it, "
            "or do not say live here",
        ),
        "too-many-replays": invalid(
            "samples", "2 runs, 9 ways and 1000 samples are 18,000 runs; a replay has at most 10,000"
        ),
        "bad-expression": invalid("metrics.0.expression", "no Python expression: invalid syntax"),
        "changed-model": invalid(
            "changes.model",
            "unknown model 'gpt'; simulator has mistral-large-latest, mistral-small-latest",
        ),
        "unknown-override": invalid(
            "override_params.temprature",
            "unknown field; the fields here are temperature, top_p, max_tokens, random_seed, model",
        ),
    }
