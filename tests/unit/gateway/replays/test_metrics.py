"""Metrics of a replay: what is understood when little is said, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.problems import Problem
from services.gateway.replays.inputs import MetricInput
from services.gateway.replays.metrics import expression_fault, metrics

ONE, OTHER = "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f", "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e60"


def asked(*given: dict[str, Any]) -> list[MetricInput]:
    return [MetricInput.model_validate_json(json.dumps(each)) for each in given]


def test_success_decides_when_nothing_is_said_and_what_it_takes_is_told_beside_it() -> None:
    assert [(each.label, each.higher_is_better) for each in metrics([], [ONE])] == [
        ("success", True),
        ("cost_usd", False),
        ("latency_ms", False),
        ("tokens", False),
    ]


def test_what_is_said_wins_over_what_is_usual() -> None:
    metric, always = metrics(asked({"name": "rounds", "higher_is_better": True, "label": "depth"}), [ONE])
    assert (metric.label, metric.higher_is_better) == ("depth", True)
    assert always.name == "success"  # what fails is never just cheap


def test_an_expectation_is_the_same_for_all_runs_or_one_for_each() -> None:
    given = asked(
        {"name": "exact", "expected": "15"},
        {"name": "contains", "expected": {ONE: "15", OTHER: "16"}},
        {"name": "expression", "expression": "answer == expected", "expected": "15"},
    )
    found = [each.expected for each in metrics(given, [ONE, OTHER]) if each.name != "success"]
    assert found == ["15", {ONE: "15", OTHER: "16"}, "15"]


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ([{"name": "exact"}], "metrics.0.expected", "give the answer that is right"),
        ([{"name": "tokens", "expected": "1"}], "metrics.0.expected", "compares with nothing"),
        (
            [{"name": "exact", "expected": {"x": "1"}}],
            "metrics.0.expected",
            "'x' is none of the replayed",
        ),
        ([{"name": "exact", "expected": {}}], "metrics.0.expected", f"what is expected of the run {ONE}"),
        ([{"name": "tokens"}, {"name": "tokens"}], "metrics.1.label", "two metrics 'tokens'"),
        ([{"name": "tokens", "expression": "1"}], "metrics.0.expression", "is for the metric 'expression'"),
        ([{"name": "expression"}], "metrics.0.expression", "give Python over answer, status"),
        ([{"name": "expression", "expression": "tokens >"}], "metrics.0.expression", "invalid syntax"),
        (
            [{"name": "expression", "expression": "reward > 1"}],
            "metrics.0.expression",
            "no 'reward'",
        ),
    ],
)
def test_a_metric_that_cannot_be_measured_is_refused(
    given: list[dict[str, Any]], field: str, words: str
) -> None:
    with pytest.raises(Problem) as refused:
        metrics(asked(*given), [ONE])
    [error] = refused.value.errors
    assert error.field == field
    assert words in error.message


@pytest.mark.parametrize(
    "text",
    [
        "tokens < 100 and 'yes' in answer.lower()",
        " len([word for word in answer.split() if word != expected]) / max(rounds, 1)",
        "(lambda x: x + 1)(tool_calls)",
        "-" * 1999 + "cost_usd",
    ],
)
def test_an_expression_may_use_all_that_a_run_came_to(text: str) -> None:
    assert expression_fault(text) is None


@pytest.mark.parametrize("text", ["x = 1", "import os", "a\x00b", "(" * 1500, "def f(): 1"])
def test_what_is_no_expression_is_told_and_breaks_nothing(text: str) -> None:
    fault = expression_fault(text)
    assert fault is not None
    assert "no Python expression" in fault


def test_an_expression_gives_no_names_to_values() -> None:
    assert expression_fault("(x := tokens) + x") == "it may not give names to values (:=)"


@given(st.text(max_size=200))
def test_no_text_breaks_the_check_and_every_fault_has_words(text: str) -> None:
    assert expression_fault(text) != ""
