"""What a run has spent and set aside: never less than the truth, and never more than its budget."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ledger import Ledger, usd
from shared.run_state import fold
from shared.steps import (
    AgentResponse,
    Attempt,
    BudgetRaised,
    Failure,
    Rates,
    RunFinished,
    RunRetried,
    SpendReserved,
    Step,
    Usage,
)
from tests.support.steps import claimed, make, model_call, new_key, requested, result

RATES = Rates(input=Decimal(2), cached_input=Decimal(1), output=Decimal(6), reasoning=Decimal(6))
KEY = new_key()


def ledger_of(*kinds: tuple[type[Any], dict[str, Any]], budget_usd: float = 0.1) -> Ledger:
    steps: list[Step] = [
        requested(KEY, budget_usd=budget_usd, rates={"mistral-large-latest": RATES}),
        claimed(KEY, 1),
    ]
    steps += [make(kind, KEY, seq, **fields) for seq, (kind, fields) in enumerate(kinds, start=2)]
    ledger = fold(steps).ledger
    assert ledger is not None
    return ledger


def reserved(amount: str, call_id: str | None = None) -> tuple[type[Any], dict[str, Any]]:
    return SpendReserved, {"usd": amount, "call_id": call_id}


def answered(**fields: Any) -> tuple[type[Any], dict[str, Any]]:
    return AgentResponse, {"content": "15", "model_call": model_call(**fields)}


def failed(*statuses: int | None) -> tuple[type[Any], dict[str, Any]]:
    attempts = tuple(Attempt(status=status) for status in statuses)
    return RunFinished, {
        "status": "failed",
        "error": Failure(type="model-error", message="", attempts=attempts),
    }


def test_a_run_without_a_budget_has_no_ledger() -> None:
    assert fold([requested(KEY), claimed(KEY, 1)]).ledger is None


def test_an_answer_is_charged_by_its_tokens_and_the_rest_is_free_again() -> None:
    ledger = ledger_of(reserved("0.05"), answered(usage=Usage(input=1000, cached_input=400, output=100)))
    assert (ledger.used, ledger.reserved) == (Decimal("0.0022"), {})
    assert ledger.left == Decimal("0.0978")


@pytest.mark.parametrize(
    "fields",
    [{"usage": Usage()}, {"asked": "another"}, {"usage": Usage(input=1, cached_input=2)}],
    ids=["no usage", "no price", "a usage that contradicts itself"],
)
def test_an_answer_of_unknown_cost_costs_all_that_was_set_aside(fields: dict[str, Any]) -> None:
    assert ledger_of(reserved("0.05"), answered(**fields)).spent == Decimal("0.05")


def test_what_a_dead_runner_set_aside_is_spent() -> None:
    again = (type(claimed(KEY, 1)), {"runner": "runner-2", "attempt": 2})
    assert ledger_of(reserved("0.05"), again).spent == Decimal("0.05")
    assert ledger_of(reserved("0.05"), reserved("0.01")).used == Decimal("0.06")


def test_the_share_of_a_run_that_was_asked_outlives_its_askers_runner() -> None:
    again = (type(claimed(KEY, 1)), {"runner": "runner-2", "attempt": 2})
    ledger = ledger_of(reserved("0.05", "call00001"), again)
    assert (ledger.spent, ledger.left) == (Decimal(), Decimal("0.05"))


@pytest.mark.parametrize(("spent", "used"), [("0.02", "0.02"), ("0", "0"), (None, "0.05")])
def test_a_run_that_was_asked_gives_back_what_it_did_not_spend(spent: str | None, used: str) -> None:
    fields = {**result(KEY, 3, "15").model_dump(), "spent_usd": spent}
    given_back = {name: fields[name] for name in ("call_id", "tool", "status", "result", "spent_usd")}
    ledger = ledger_of(reserved("0.05", "call00001"), (type(result(KEY, 3, "15")), given_back))
    assert (ledger.used, ledger.reserved) == (Decimal(used), {})


@pytest.mark.parametrize(
    ("statuses", "spent"), [((429, 503), "0"), ((429, None), "0.05"), ((), "0.05")], ids=str
)
def test_calls_that_were_refused_cost_nothing(statuses: tuple[int | None, ...], spent: str) -> None:
    assert ledger_of(reserved("0.05"), failed(*statuses)).spent == Decimal(spent)


def test_a_retried_run_keeps_what_it_spent_and_may_get_a_higher_budget() -> None:
    retried = (RunRetried, {"who": "somebody"})
    raised = (BudgetRaised, {"budget_usd": 0.3, "who": "somebody"})
    ledger = ledger_of(reserved("0.05"), failed(None), retried, raised)
    assert (ledger.spent, ledger.left) == (Decimal("0.05"), Decimal("0.25"))


def test_an_amount_is_what_is_written() -> None:
    assert usd(0.1) * 3 == usd(0.3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4000), st.integers(0, 4000)), max_size=30))
def test_who_sets_aside_only_what_is_left_never_spends_more_than_the_budget(
    calls: list[tuple[bool, int, int]],
) -> None:
    ledger = Ledger(cap=Decimal("0.1"), rates={"mistral-large-latest": RATES})
    paid = Decimal()
    for is_answered, tokens, more in calls:
        usage = Usage(input=tokens, output=tokens)
        most = RATES.amount(usage + Usage(output=more))
        if most > ledger.left:
            continue
        ledger.reserve(make(SpendReserved, KEY, 2, usd=most))
        paid += RATES.amount(usage)
        if is_answered:
            ledger.called(model_call(usage=usage))
        assert paid <= ledger.used <= ledger.cap
