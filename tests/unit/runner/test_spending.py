"""What a call may cost at most, and who may still pay for it."""

from decimal import Decimal
from typing import Any

import pytest

from services.runner.decision import CallModel, Finish, Wait
from services.runner.spending import affordable, share, worst_case
from shared.ledger import Ledger
from shared.model_request import ModelRequest
from shared.steps import Rates, ReplayPlan
from tests.support.steps import new_key, requested

RATES = Rates(input=Decimal(2), cached_input=Decimal(1), output=Decimal(6), reasoning=Decimal(8))
MODEL = "mistral-large-latest"


def ledger(cap: str = "0.1", spent: str = "0") -> Ledger:
    return Ledger(cap=Decimal(cap), rates={MODEL: RATES}, spent=Decimal(spent))


def request(text: str, **parameters: int) -> ModelRequest:
    return ModelRequest(MODEL, [{"role": "user", "content": text}], parameters=parameters)


def test_a_call_costs_at_most_its_bytes_and_its_longest_answer() -> None:
    asked = request("über 🙂", max_tokens=100)
    size = len(asked.canonical().encode())
    assert worst_case(asked, ledger()) == Decimal(size * 2 + 100 * 8) / 1_000_000


@pytest.mark.parametrize("asked", [request("hi"), ModelRequest("another", [], parameters={"max_tokens": 1})])
def test_without_a_bound_or_a_price_nothing_is_known(asked: ModelRequest) -> None:
    most = worst_case(asked, ledger())
    assert most is None
    end = affordable(requested(new_key()), ledger(), most)
    assert isinstance(end, Finish)
    assert end.failure is not None
    assert end.failure.type == "no-price"


def test_the_last_cent_may_be_spent_and_not_more() -> None:
    run = requested(new_key())
    assert affordable(run, ledger("0.1", "0.06"), Decimal("0.04")) == CallModel()
    waits = affordable(run, ledger("0.1", "0.06"), Decimal("0.040001"))
    assert isinstance(waits, Wait)
    assert waits.reason == "budget"
    assert "0.040001 USD" in waits.why
    assert "of 0.1 USD (budget_usd) 0.040000 are left" in waits.why


@pytest.mark.parametrize(
    "fields",
    [
        {"parent_run_id": new_key().run_id},
        {"replay": ReplayPlan(mode="rerun", source_run_id=new_key().run_id)},
    ],
)
def test_a_run_that_was_asked_or_replays_another_ends_where_its_money_does(fields: dict[str, Any]) -> None:
    run = requested(new_key(), **fields)
    end = affordable(run, ledger("0.1", "0.1"), Decimal("0.04"))
    assert isinstance(end, Finish)
    assert end.failure is not None
    assert end.failure.type == "budget"


@pytest.mark.parametrize(
    ("spent", "asking", "own", "part"),
    [
        ("0", 1, None, "0.1"),
        ("0", 3, None, "0.033333"),
        ("0", 1, 0.02, "0.02"),
        ("0", 2, 0.2, "0.05"),
        ("0.2", 1, None, "0"),
    ],
)
def test_shares_are_equal_parts_of_what_is_left(
    spent: str, asking: int, own: float | None, part: str
) -> None:
    assert share(ledger("0.1", spent), asking, own) == Decimal(part)
