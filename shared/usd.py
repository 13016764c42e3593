"""Amounts of money on the wire."""

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


Usd = Annotated[Decimal, PlainSerializer(_plain, return_type=str, when_used="json")]
"""USD as text without an exponent, which few readers expect of money."""
