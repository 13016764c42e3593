"""What the tokens of a model call cost. Pure: no clock, no network, no database.

The prices are the book inside the installed genai-prices package (USD per million tokens, with the days
from which they hold); it is never brought up to date over the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

import genai_prices
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, TimeOfDateConstraint

from shared.price_terms import Terms
from shared.steps import Rates, Usage

SOURCE: Final = "genai-prices"
VERSION: Final = genai_prices.__version__
# Names come from whoever runs the model server: the cache must not grow with them.
CACHED: Final = 1024


@dataclass(frozen=True)
class Quote:
    """A price: the sum, and what it was made of.

    `unit_prices` are in USD per million tokens, by the book's names; `day` is the UTC day they were of.
    """

    amount_usd: Decimal
    provider: str
    unit_prices: Mapping[str, Decimal]
    day: date


@dataclass(frozen=True)
class NoQuote:
    """No price is known, and why; whoever needs one must not make one up."""

    reason: str


@dataclass(frozen=True)
class _Entry:
    """A model of the book; `terms` are those of a whole day, None where they change within it."""

    provider: str
    model: ModelInfo
    terms: Terms | None


class PriceBook:
    """The bundled prices. What a model costs on a day is looked up once."""

    def __init__(self) -> None:
        self._book = DataSnapshot(providers=providers, from_auto_update=False)
        self._entry = lru_cache(maxsize=CACHED)(self._look_up)

    def quote(self, model: str, usage: Usage, at: datetime) -> Quote | NoQuote:
        """The price of these tokens at that time. Cached input is a part of the input and priced once."""
        day = at.astimezone(UTC).date()
        entry = self._entry(model, day)
        if entry is None:
            return NoQuote(f"the price book does not know the model {model!r}")
        if usage.total == 0:
            return NoQuote("the answer came without a count of its tokens")
        terms = entry.terms or Terms.of(entry.model.get_prices(at))
        if missing := terms.missing(usage):
            return NoQuote(f"the price book has no {' and no '.join(missing)} price for the model {model!r}")
        try:
            amount = terms.amount(usage)
        except ValueError as error:  # more cached input than input, for one
            return NoQuote(f"the usage cannot be priced: {error}")
        return Quote(amount, entry.provider, terms.unit_prices(usage), day)

    def rates(self, model: str, at: datetime) -> Rates | NoQuote:
        """What a million tokens of each kind cost at that time, if a sum follows from that alone."""
        entry = self._entry(model, at.astimezone(UTC).date())
        if entry is None:
            return NoQuote(f"the price book does not know the model {model!r}")
        terms = entry.terms or Terms.of(entry.model.get_prices(at))
        if terms.rates is None:
            return NoQuote(f"what the model {model!r} costs depends on more than the number of tokens")
        return terms.rates

    def _look_up(self, model: str, day: date) -> _Entry | None:
        try:
            provider, info = self._book.find_provider_model(model, None, None, None)
        except LookupError:
            return None
        if _changes_within_a_day(info):
            return _Entry(provider.id, info, None)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return _Entry(provider.id, info, Terms.of(info.get_prices(midnight)))


def _changes_within_a_day(model: ModelInfo) -> bool:
    return isinstance(model.prices, list) and any(
        isinstance(price.constraint, TimeOfDateConstraint) for price in model.prices
    )
