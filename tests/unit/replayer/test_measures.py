"""What a run came to: what it paid for itself, what people count by, and why there is no value."""

from decimal import Decimal

import pytest

from services.replayer.measures import Facts, cost, facts, gone, measures, value_of, void, with_asked
from shared.messages import MetricName, WantedMetric
from shared.price_book import PriceBook
from shared.run_state import fold
from shared.steps import (
    AgentResponse,
    Divergence,
    Failure,
    RunFinished,
    RunStatus,
    RunVerified,
    Step,
    Totals,
    Usage,
)
from tests.support.run_samples import whole_run
from tests.support.steps import claimed, make, model_call, new_key, requested

BOOK = PriceBook()
KNOWN = Facts(
    answer=" It is 15.\n",
    status="completed",
    cost_usd=Decimal("0.5"),
    latency_ms=700,
    tokens=120,
    rounds=2,
    tool_calls=3,
    expected="It is 15.",
)


def metric(name: MetricName) -> WantedMetric:
    return WantedMetric(name=name, label=name, higher_is_better=True)


def test_a_run_is_measured_by_what_it_did_and_paid_itself() -> None:
    steps = whole_run(new_key(), tools=2)
    totals = {"totals": Totals(duration_ms=900)}
    copied: list[Step] = [*steps[:3], steps[3].model_copy(update={"copied_from": 3}), *steps[4:-1]]
    copied.append(steps[-1].model_copy(update=totals))
    known = facts(fold(copied), copied, BOOK)
    # mistral-large-2411 costs 2 and 6: a thought of 40 + 6 tokens 116, the answer of 70 + 9 tokens 194.
    assert known.cost_usd == Decimal("0.000310")
    assert (known.answer, known.status, known.latency_ms) == ("It is 15.", "completed", 900)
    assert (known.tokens, known.tool_calls) == (46 + 79, 2)


def test_what_has_no_known_price_has_no_cost_and_never_zero() -> None:
    steps: list[Step] = [make(AgentResponse, new_key(), 3, content="", model_call=_call("nobodys-model"))]
    assert cost(steps, BOOK) is None
    assert cost([], BOOK) == 0
    value, why = value_of(metric("cost_usd"), _known(cost_usd=None))
    assert (value, why) == (None, "the price of a model that it called is not known")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("success", 1.0), ("cost_usd", 0.5), ("latency_ms", 700.0), ("tokens", 120.0)),
        *(("rounds", 2.0), ("tool_calls", 3.0), ("exact", 1.0), ("contains", 1.0)),
    ],
)
def test_every_metric_has_its_value(name: MetricName, value: float) -> None:
    assert value_of(metric(name), KNOWN) == (value, None)


@pytest.mark.parametrize("name", ["exact", "contains"])
def test_a_run_without_an_answer_has_not_given_the_one_that_was_expected(name: MetricName) -> None:
    assert value_of(metric(name), _known(answer=None, expected="")) == (0.0, None)
    assert value_of(metric(name), _known(answer="It is 16.")) == (0.0, None)
    assert value_of(metric(name), _known(expected=None)) == (None, "no answer is expected of this source")


@pytest.mark.parametrize("name", ["cost_usd", "latency_ms", "tokens", "rounds", "tool_calls"])
def test_what_a_failed_run_took_counts_for_nothing(name: MetricName) -> None:
    failed = _known(status=RunStatus.FAILED, cost_usd=Decimal(0))
    assert value_of(metric(name), failed) == (None, "the run is failed")
    assert value_of(metric("success"), failed) == (0.0, None)


def test_a_run_costs_what_the_runs_that_it_asked_cost_too() -> None:
    asked = [_known(cost_usd=Decimal("0.25"), tokens=30), _known(cost_usd=Decimal("0.5"), tokens=12)]
    whole = with_asked(_known(cost_usd=Decimal(1), tokens=100), asked)
    assert (whole.cost_usd, whole.tokens) == (Decimal("1.75"), 142)
    assert with_asked(KNOWN, [_known(cost_usd=None)]).cost_usd is None
    assert with_asked(KNOWN, None).cost_usd is None


def test_a_part_of_the_answer_is_contained_and_not_exact() -> None:
    part = _known(expected="15")
    assert (value_of(metric("contains"), part)[0], value_of(metric("exact"), part)[0]) == (1.0, 0.0)


def test_a_verification_tells_where_it_parts() -> None:
    key = new_key()
    divergence = Divergence(step=3, cause="message", path="/messages/0")
    steps: list[Step] = [
        requested(key),
        claimed(key, 1),
        make(RunVerified, key, 2, equal=False, steps=6, model_calls=1, divergence=divergence),
        make(RunFinished, key, 3, status="failed", error=Failure(type="diverged", message="step 3")),
    ]
    state = fold(steps)
    told = measures(state, facts(state, steps, BOOK))
    assert told.verified is not None
    assert (told.verified.equal, told.verified.steps, told.divergence) == (False, 6, divergence)
    assert told.error is not None
    assert (told.error.type, told.cost_usd) == ("diverged", Decimal())


def test_a_run_that_was_stopped_or_had_no_source_says_nothing_about_its_arm() -> None:
    error = Failure(type="source-gone", message="The source is not on the broker.")
    ends: dict[str, RunFinished] = {
        "it was cancelled": make(RunFinished, new_key(), 1, status="cancelled"),
        error.message: make(RunFinished, new_key(), 1, status="failed", error=error),
    }
    for why, end in ends.items():
        assert void(fold([requested(new_key()), end])) == why
    failed = Failure(type="model-error", message="the provider said no")
    end = make(RunFinished, new_key(), 1, status="failed", error=failed)
    assert void(fold([requested(new_key()), end])) is None


def test_of_a_run_that_is_gone_nothing_is_known() -> None:
    told = gone("run 7 was deleted", [metric("success"), metric("tokens")])
    assert told.values == {"success": None, "tokens": None}
    assert (told.cost_usd, told.error and told.error.message) == (None, "run 7 was deleted")


def _call(model: str) -> object:
    return model_call(answered=model, usage=Usage(input=10, output=5))


def _known(**fields: object) -> Facts:
    return Facts(**{**vars(KNOWN), **fields})
