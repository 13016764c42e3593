"""Prices against sums made by hand. USD per million tokens as the installed price book has them:

mistral-large-2512: input 0.5, cached input 0.05, output 1.5. mistral-large-latest: input 2, output 6.
mistral-large-4: 0.68, 0.07, 2.09; from 2026-10-20 1.36, 0.14, 4.18; from 2026-10-29 0.7, 0.07, 2.1.
gemini-2.5-pro: input 1.25 and output 10; above 200,000 tokens of input 2.5 and 15.
"""

import socket
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data import providers
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.price_book import NoQuote, PriceBook, Quote
from shared.steps import Usage

AT = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
VENDORS = {"mistral", "openai", "anthropic", "google", "deepseek"}
ALL_MODELS = [model.id for vendor in providers if vendor.id in VENDORS for model in vendor.models]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def _quote(book: PriceBook, model: str, usage: Usage, at: datetime = AT) -> Quote:
    quote = book.quote(model, usage, at)
    assert isinstance(quote, Quote), quote
    return quote


def _refusal(book: PriceBook, model: str, usage: Usage) -> str:
    quote = book.quote(model, usage, AT)
    assert isinstance(quote, NoQuote), quote
    return quote.reason


def test_cached_input_is_priced_once_and_at_its_own_price(book: PriceBook) -> None:
    quote = _quote(book, "mistral-large-2512", Usage(input=1000, cached_input=400, output=50))
    assert quote.amount_usd == Decimal("0.000395")  # 600 × 0.5 + 400 × 0.05 + 50 × 1.5 = 395
    assert quote.unit_prices == {
        "input_mtok": Decimal("0.5"),
        "cache_read_mtok": Decimal("0.05"),
        "output_mtok": Decimal("1.5"),
    }
    assert (quote.provider, quote.day) == ("mistral", date(2026, 11, 20))


def test_cached_input_without_a_price_of_its_own_is_priced_as_input(book: PriceBook) -> None:
    quote = _quote(book, "mistral-large-latest", Usage(input=1000, cached_input=400, output=50))
    assert quote.amount_usd == Decimal("0.0023")  # 1000 × 2 + 50 × 6 = 2300


def test_reasoning_is_a_part_of_the_output(book: PriceBook) -> None:
    quote = _quote(book, "mistral-large-2512", Usage(input=10, output=50, reasoning=49))
    assert quote.amount_usd == Decimal("0.00008")  # 10 × 0.5 + 50 × 1.5 = 80


def test_sums_are_exact_however_large(book: PriceBook) -> None:
    quote = _quote(book, "mistral-large-2512", Usage(input=2**53, output=1))
    assert quote.amount_usd == Decimal("4503599627.370496") + Decimal("0.0000015")


@pytest.mark.parametrize(
    ("at", "amount"),
    [
        (datetime(2026, 10, 19, 23, 59, tzinfo=UTC), "0.68"),
        (datetime(2026, 10, 20, 0, 0, tzinfo=UTC), "1.36"),
        (datetime(2026, 10, 20, 1, 0, tzinfo=timezone(timedelta(hours=2))), "0.68"),
        (datetime(2026, 10, 29, 0, 0, tzinfo=UTC), "0.7"),
    ],
)
def test_the_price_is_the_one_of_the_day_of_the_call(book: PriceBook, at: datetime, amount: str) -> None:
    quote = _quote(book, "mistral-large-4", Usage(input=1_000_000), at)
    assert quote.amount_usd == Decimal(amount)
    assert quote.day == at.astimezone(UTC).date()


@pytest.mark.parametrize(("tokens", "price"), [(200_000, "1.25"), (200_001, "2.5")])
def test_the_unit_price_kept_is_the_one_of_the_step_reached(book: PriceBook, tokens: int, price: str) -> None:
    quote = _quote(book, "gemini-2.5-pro", Usage(input=tokens))
    assert quote.unit_prices["input_mtok"] == Decimal(price)
    assert quote.amount_usd == Decimal(price) * tokens / 1_000_000


@given(st.data())
def test_the_sum_is_the_one_that_the_library_makes(book: PriceBook, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(ALL_MODELS))
    whole, made = data.draw(st.integers(0, 10**7)), data.draw(st.integers(1, 10**7))
    usage = Usage(
        input=whole,
        cached_input=data.draw(st.integers(0, whole)),
        output=made,
        reasoning=data.draw(st.integers(0, made)),
    )
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=data.draw(st.integers(0, 1_500_000)))
    quote = book.quote(model, usage, at)
    assume(isinstance(quote, Quote))
    tokens = genai_prices.Usage(
        input_tokens=usage.input,
        cache_read_tokens=usage.cached_input,
        output_tokens=usage.output,
        output_reasoning_tokens=usage.reasoning,
    )
    expected = genai_prices.calc_price(tokens, model, genai_request_timestamp=at).total_price
    assert isinstance(quote, Quote)
    assert quote.amount_usd == expected


def test_an_unknown_model_has_no_price(book: PriceBook) -> None:
    reason = _refusal(book, "llama-of-our-own", Usage(input=10, output=5))
    assert reason == "the price book does not know the model 'llama-of-our-own'"


def test_a_model_that_is_not_sold_by_tokens_has_no_price(book: PriceBook) -> None:
    reason = _refusal(book, "mistral-ocr-latest", Usage(input=10, output=5))
    assert "no input_mtok and no output_mtok price" in reason


def test_more_cached_than_input_tokens_have_no_price(book: PriceBook) -> None:
    reason = _refusal(book, "mistral-large-2512", Usage(input=10, cached_input=11, output=5))
    assert "cannot exceed" in reason


def test_an_answer_without_a_count_of_tokens_has_no_price(book: PriceBook) -> None:
    assert "without a count" in _refusal(book, "mistral-large-2512", Usage())


def test_pricing_never_opens_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pricing opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fresh = PriceBook()
    assert _quote(fresh, "mistral-large-2512", Usage(input=1)).amount_usd == Decimal("0.0000005")
    assert _refusal(fresh, "nobody-knows", Usage(input=1))
