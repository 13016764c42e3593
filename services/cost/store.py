"""The cost service's SQL: charges in, each counted once however often it comes."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from services.cost.charges import Charge
from shared.database import Connection
from shared.price_book import SOURCE, VERSION, Quote

INSERT: Final = """
INSERT INTO charges (run_id, seq, item, project, at, kind, provider, model, input_tokens, cached_input_tokens,
                     output_tokens, reasoning_tokens, amount_usd, prices, price_source, price_version,
                     price_date, reason)
SELECT * FROM unnest(
    $1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::numeric[], $14::jsonb[], $15::text[],
    $16::text[], $17::date[], $18::text[]
)
ON CONFLICT (run_id, seq, item) DO NOTHING
RETURNING run_id, seq, item
"""


async def add_charges(connection: Connection, charges: Sequence[Charge]) -> Sequence[Charge]:
    """Insert the charges, which are sorted by key; returns those that were not there before."""
    columns = zip(*map(_values, charges), strict=True)
    inserted = await connection.fetch(INSERT, *(list(column) for column in columns))
    if len(inserted) == len(charges):
        return charges
    keys = {(str(run_id), seq, item) for run_id, seq, item in inserted}
    return [charge for charge in charges if (charge.run_id, charge.seq, charge.item) in keys]


def _values(charge: Charge) -> tuple[object, ...]:
    quote = charge.quote
    priced = quote if isinstance(quote, Quote) else None
    return (
        charge.run_id,
        charge.seq,
        charge.item,
        charge.project,
        charge.at,
        charge.kind,
        priced and priced.provider,
        charge.model,
        charge.usage.input,
        charge.usage.cached_input,
        charge.usage.output,
        charge.usage.reasoning,
        priced and priced.amount_usd,
        priced and _text(priced.unit_prices),
        SOURCE,
        VERSION,
        priced and priced.day,
        None if isinstance(quote, Quote) else quote.reason,
    )


def _text(unit_prices: Mapping[str, Decimal]) -> str:
    # As text: a JSON number would be read back as a binary fraction.
    return json.dumps({name: str(usd) for name, usd in unit_prices.items()})
