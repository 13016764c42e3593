"""The SQL of bundles: what a run cost, and the partition of an imported run's steps."""

import json
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.bundle.manifest import Charge
from shared.database import Connection
from shared.subjects import RunKey

CHARGES: Final = """
    SELECT seq, item, model, amount_usd, prices, price_source, price_version, price_date, reason
    FROM charges WHERE run_id = $2 AND project = $1 ORDER BY seq, item
"""


async def charges(connection: Connection, run: RunKey) -> tuple[Charge, ...]:
    rows = await connection.fetch(CHARGES, run.project, UUID(run.run_id))
    return tuple(
        Charge(
            step=row["seq"],
            item=row["item"],
            model=row["model"],
            amount_usd=format(row["amount_usd"], "f") if row["amount_usd"] is not None else None,
            prices=json.loads(row["prices"]) if row["prices"] else None,
            price_source=row["price_source"],
            price_version=row["price_version"],
            price_date=row["price_date"].isoformat() if row["price_date"] else None,
            reason=row["reason"],
        )
        for row in rows
    )


async def make_partition(connection: Connection, at: datetime) -> None:
    """For steps of runs that were accepted in that week, which may lie long before this deployment."""
    await connection.execute("SELECT create_step_partitions($1, $1)", at)
