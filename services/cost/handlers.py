"""What the cost service does with a batch: price what is billable, write it once, count what has no price."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter, Histogram

from services.cost import store
from services.cost.charges import Charge, charges
from shared.database import Database
from shared.price_book import NoQuote, PriceBook
from shared.steps import Step

CHARGES: Final = Counter("studio_charges_total", "Charges written, with a price and without.", ["priced"])
UNPRICED: Final = Counter("studio_unpriced_charges_total", "Charges without a known price.", ["model"])
SECONDS: Final = Histogram("studio_cost_insert_seconds", "Time of a batch's transaction.")
# Model names come from outside: a metric must not get a series for each.
MOST_NAMES: Final = 50
LONGEST_NAME: Final = 100
OTHER: Final = "other"


class Accountant:
    def __init__(self, database: Database, book: PriceBook) -> None:
        self._database = database
        self._book = book
        self._unpriced_models: set[str] = set()

    async def charge(self, steps: Sequence[Step]) -> None:
        """Price every billable step of the batch, each exactly once. Raises Unavailable or Permanent."""
        due = charges(steps, self._book)
        if not due:
            return
        with SECONDS.time():
            async with self._database.transaction() as connection:
                added = await store.add_charges(connection, due)
        self._count(added)

    def _count(self, added: Sequence[Charge]) -> None:
        unpriced = [charge for charge in added if isinstance(charge.quote, NoQuote)]
        CHARGES.labels("yes").inc(len(added) - len(unpriced))
        CHARGES.labels("no").inc(len(unpriced))
        for charge in unpriced:
            UNPRICED.labels(self._label(charge.model)).inc()

    def _label(self, model: str) -> str:
        if model not in self._unpriced_models:
            if len(self._unpriced_models) >= MOST_NAMES or len(model) > LONGEST_NAME:
                return OTHER
            self._unpriced_models.add(model)
        return model
