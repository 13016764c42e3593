"""How Alembic reaches the database: DATABASE_URL, the same driver as the services, one run at a time."""

import asyncio
import os
import re
from typing import Any

from alembic import context
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.tables import metadata

PARTITION = re.compile(r"steps_\d{4}w\d{2}")


def is_compared(name: str | None, kind: str, _: Any) -> bool:
    """Partitions come and go with the calendar; everything else must be as the models say."""
    return kind != "table" or PARTITION.fullmatch(name or "") is None


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, include_name=is_compared)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic'))"))
        context.run_migrations()


async def main() -> None:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit(
            "DATABASE_URL is not set; it looks like postgresql://user:password@host:port/database"
        )
    settings = {"lock_timeout": "5s", "application_name": "alembic", "timezone": "UTC"}
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        poolclass=NullPool,
        connect_args={"server_settings": settings},
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
