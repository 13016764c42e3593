"""What goes together in a replay, and the ways in which its runs are run."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gateway.problems import Problem
from services.gateway.replays.inputs import ReplayInput
from services.gateway.replays.rules import MOST_RUNS, samples_of, ways

RUN = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"
EDIT = {"step": 2, "field": "content", "value": "other"}
SMALL = {"model": "small"}


def asked(**fields: Any) -> ReplayInput:
    return ReplayInput.model_validate_json(json.dumps({"run_id": RUN, **fields}))


def test_a_changed_run_that_is_replayed_once_needs_no_baseline() -> None:
    [way] = ways(asked(changes=SMALL))
    assert (way.name, way.changes.model) == ("replay", "small")


def test_several_samples_of_a_changed_run_are_compared_with_the_run_as_it_was() -> None:
    assert [way.name for way in ways(asked(changes=SMALL, samples=2))] == ["baseline", "replay"]
    forked = ways(asked(mode="fork", step=2, edits=[EDIT], samples=2))
    assert [(way.name, len(way.edits)) for way in forked] == [("baseline", 0), ("replay", 1)]


def test_where_nothing_is_changed_there_is_nothing_to_compare() -> None:
    assert [way.name for way in ways(asked(samples=20))] == ["replay"]


def test_candidates_are_compared_with_the_baseline_even_once() -> None:
    given = ways(asked(candidates=[{"name": "a", "changes": SMALL}, {"name": "b"}]))
    assert [way.name for way in given] == ["baseline", "a", "b"]
    assert [way.field for way in given] == ["", "candidates.0.", "candidates.1."]


def test_each_mode_has_its_number_of_samples() -> None:
    assert [samples_of(asked(mode=mode)) for mode in ("verify", "rerun", "blame")] == [1, 1, 5]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"run_id": None}, "run_id", "name the run"),
    ({"run_ids": [RUN]}, "run_ids", "not both"),
    ({"run_id": None, "run_ids": [RUN, RUN]}, "run_ids", "each run may stand here once"),
    (
        {"mode": "blame", "changes": SMALL},
        "changes",
        "is for rerun and fork and verify; leave it out to blame",
    ),
    ({"mode": "verify", "samples": 2}, "samples", "leave it out to verify"),
    ({"mode": "verify", "metrics": [{"name": "tokens"}]}, "metrics", "leave it out to verify"),
    ({"mode": "blame", "candidates": [{"name": "a"}]}, "candidates", "leave it out to blame"),
    ({"edits": [EDIT]}, "edits", "is for fork; leave it out to rerun"),
    ({"step": 2}, "step", "is for fork; leave it out to rerun"),
    ({"threshold": 0.5}, "threshold", "is for blame"),
    ({"most_runs": 5}, "most_runs", "is for blame"),
    ({"mode": "blame", "stop_early": False}, "stop_early", "is for rerun and fork"),
    (
        {"mode": "fork", "step": 2, "changes": {"prompt": "hi"}},
        "changes.prompt",
        "edit the content of that step",
    ),
    ({"mode": "fork"}, "step", "say behind which step to fork"),
    ({"candidates": [{"name": "a", "edits": [EDIT]}]}, "candidates.0.edits", "is for fork"),
    ({"changes": SMALL, "candidates": [{"name": "a"}]}, "changes", "each of them has its own"),
    (
        {"mode": "fork", "step": 2, "edits": [EDIT], "candidates": [{"name": "a"}]},
        "edits",
        "each of them has its own",
    ),
    ({"candidates": [{"name": "a"}, {"name": "a"}]}, "candidates.0.name", "stands here twice"),
    ({"candidates": [{"name": "baseline"}]}, "candidates.0.name", "changes nothing"),
    (
        {"mode": "fork", "step": 2, "edits": [{**EDIT, "value": "x" * 40_000}] * 2},
        "edits",
        "at most 65536",
    ),
    (
        {"run_id": None, "run_ids": [RUN, RUN[:-1] + "0"], "samples": 1000}
        | {"candidates": [{"name": name} for name in "abcdefgh"]},
        "samples",
        "2 runs, 9 ways and 1000 samples are 18,000 runs; a replay has at most 10,000",
    ),
    (
        {"run_id": None, "run_ids": [RUN, RUN[:-1] + "0"], "mode": "blame"},
        "run_ids",
        "one run at a time",
    ),
    ({"mode": "blame", "samples": 61}, "most_runs", "60 runs are fewer than the 61 samples"),
    ({"mode": "blame", "samples": 5, "most_runs": 4}, "most_runs", "4 runs are fewer"),
]


@pytest.mark.parametrize(("fields", "field", "words"), REFUSED)
def test_what_does_not_go_together_is_refused_at_its_field(
    fields: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Problem) as refused:
        ways(asked(**fields))
    [error] = refused.value.errors
    assert error.field == field
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"samples": 0}, "greater than or equal to 1"),
        ({"samples": 10_000}, "less than or equal to 1000"),
        ({"mode": "copy"}, "Input should be 'verify', 'rerun', 'fork' or 'blame'"),
        ({"changes": {"modell": "x"}}, "Extra inputs"),
        ({"candidates": [{"name": str(number)} for number in range(9)]}, "at most 8 items"),
        ({"candidates": [{"name": "a\n"}]}, "should match pattern"),
        ({"confidence": 1}, "less than or equal to 0.999"),
        ({"step": -1}, "greater than or equal to 0"),
        ({"run_ids": []}, "at least 1 item"),
    ],
)
def test_what_is_out_of_range_is_told_with_the_range(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        asked(**fields)


@given(
    sources=st.integers(1, 1000),
    samples=st.integers(1, 1000),
    candidates=st.integers(0, 8),
)
def test_no_replay_comes_to_more_runs_than_a_replay_may(sources: int, samples: int, candidates: int) -> None:
    runs = [f"019a9f1c-7c39-7b7e-9a56-{number:012x}" for number in range(sources)]
    named = [{"name": f"c{number}"} for number in range(candidates)]
    given = asked(run_id=None, run_ids=runs, samples=samples, candidates=named)
    if sources * (1 + candidates) * samples > MOST_RUNS:
        with pytest.raises(Problem, match="at most 10,000"):
            ways(given)
    else:
        assert len(ways(given)) == 1 + candidates
