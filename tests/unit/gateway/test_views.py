"""Pages of steps and the amounts of money on the wire."""

import json
from decimal import Decimal

import pytest

from services.gateway.reads import StepText
from services.gateway.step_pages import MOST_BYTES, page_of, with_steps
from services.gateway.views import Cost, RunDetail, view_of
from shared.preview import Shown
from shared.run_state import fold
from shared.step_codec import encode_step
from shared.steps import Step
from tests.support.steps import claimed, new_key, requested

KEY = new_key()
STEPS: list[Step] = [requested(KEY), claimed(KEY, 1)]


def texts(count: int, size: int = 2) -> list[StepText]:
    return [StepText(seq, "run-claimed", b'"' + b"x" * (size - 2) + b'"') for seq in range(count)]


@pytest.mark.parametrize(
    ("amount", "text"), [("0.000450000", "0.00045"), ("1E-7", "0.0000001"), ("0", "0"), ("120.00", "120")]
)
def test_money_is_a_plain_decimal_in_a_string(amount: str, text: str) -> None:
    view = view_of(fold(STEPS), Shown(), Shown(), Cost(usd=Decimal(amount), unpriced=0))
    assert json.loads(view.model_dump_json())["total_cost_usd"] == text


def test_a_run_with_its_steps_reads_as_its_model() -> None:
    view = view_of(fold(STEPS), Shown(text="hi"), Shown(), Cost())
    page = page_of([StepText(step.seq, step.kind, encode_step(step)) for step in STEPS], 10)
    detail = RunDetail.model_validate_json(
        with_steps(view.model_dump_json().encode(), "steps", page.texts, page.next_after)
    )
    assert list(detail.steps) == STEPS
    assert detail.next_after is None


def test_a_page_ends_at_its_limit_and_says_where_to_go_on() -> None:
    page = page_of(texts(11), 10)
    assert (len(page.texts), page.next_after) == (10, 9)
    assert page_of(texts(10), 10).next_after is None


def test_a_page_of_large_steps_ends_early_but_holds_at_least_one() -> None:
    page = page_of(texts(5, MOST_BYTES // 2), 10)
    assert (len(page.texts), page.next_after) == (2, 1)
    page = page_of(texts(2, MOST_BYTES + 10), 10)
    assert (len(page.texts), page.next_after) == (1, 0)


def test_an_empty_page_is_still_a_document() -> None:
    assert json.loads(with_steps(b"{}", "items", [], None)) == {"items": [], "next_after": None}
