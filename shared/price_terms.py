"""One model's prices at one time, and the sum for a call. Pure.

Most models have one price for each kind of token. For those the price of a million tokens of each kind is
asked of the library once, as its own sum takes as long as everything else that a charge needs; for the
others (prices that depend on the size of the call or on the number of calls) it is asked every time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from genai_prices import Usage as Tokens
from genai_prices.types import ModelPrice, TieredPrices

from shared.steps import MILLION, Rates, Usage

NEEDED: Final = {"input_mtok": "input", "output_mtok": "output"}


@dataclass(frozen=True)
class Terms:
    prices: ModelPrice
    rates: Rates | None
    units: Mapping[str, Decimal | TieredPrices]

    @classmethod
    def of(cls, prices: ModelPrice) -> Self:
        stated = {name: price for name, price in vars(prices).items() if price is not None}
        units = {name: price for name, price in stated.items() if name.endswith("_mtok")}
        return cls(prices, _rates(prices) if _is_plain(stated) else None, units)

    def missing(self, usage: Usage) -> list[str]:
        """The prices without which the sum would silently be too low, or zero."""
        if self.rates is not None:
            return []
        return [name for name, kind in NEEDED.items() if getattr(usage, kind) and name not in self.units]

    def amount(self, usage: Usage) -> Decimal:
        """USD, exact. Raises ValueError for a usage that contradicts itself."""
        consistent = usage.cached_input <= usage.input and usage.reasoning <= usage.output
        if self.rates is not None and consistent:
            return self.rates.amount(usage)
        return _sum(self.prices, usage)

    def unit_prices(self, usage: Usage) -> Mapping[str, Decimal]:
        """The prices per million tokens that apply to a call of this size."""
        return {name: _applied(price, usage.input) for name, price in self.units.items()}


def _is_plain(stated: Mapping[str, object]) -> bool:
    """Whether a sum follows from the numbers of tokens alone, each kind at one price."""
    by_call = any(name.startswith("requests") for name in stated)
    return stated.keys() >= NEEDED.keys() and not by_call and all(type(p) is Decimal for p in stated.values())


def _rates(prices: ModelPrice) -> Rates:
    return Rates(
        input=_sum(prices, Usage(input=MILLION)),
        cached_input=_sum(prices, Usage(input=MILLION, cached_input=MILLION)),
        output=_sum(prices, Usage(output=MILLION)),
        reasoning=_sum(prices, Usage(output=MILLION, reasoning=MILLION)),
    )


def _sum(prices: ModelPrice, usage: Usage) -> Decimal:
    tokens = Tokens(
        input_tokens=usage.input,
        cache_read_tokens=usage.cached_input,
        output_tokens=usage.output,
        output_reasoning_tokens=usage.reasoning,
    )
    return prices.calc_price(tokens)["total_price"]


def _applied(price: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base
