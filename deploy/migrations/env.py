"""How Alembic reaches the database: DATABASE_URL, the same driver as the services, one run at a time."""

import asyncio
import os
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

import sqlalchemy.connectors.asyncio
import sqlalchemy.dialects.postgresql.asyncpg
import sqlalchemy.util.concurrency
from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from shared.tables import metadata

T = TypeVar("T")
PARTITION = re.compile(r"steps_\d{4}w\d{2}")


def is_ours(name: str | None, kind: str, _: Any) -> bool:
    """Whether the comparison with the models looks at it: partitions come and go by the calendar."""
    return kind != "table" or PARTITION.fullmatch(name or "") is None


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, include_name=is_ours)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic'))"))
        context.run_migrations()


def main() -> None:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit(
            "DATABASE_URL is not set; it looks like postgresql://user:password@host:port/database"
        )
    address = make_url(url).set(drivername="postgresql+asyncpg")
    settings = {"lock_timeout": "5s", "application_name": "alembic"}
    engine = create_engine(address, poolclass=NullPool, connect_args={"server_settings": settings})
    with engine.connect() as connection:
        migrate(connection)


loop = asyncio.new_event_loop()


def block(awaitable: Awaitable[T]) -> T:
    async def run() -> T:
        return await awaitable

    return loop.run_until_complete(run())


sqlalchemy.util.concurrency.await_ = block
sqlalchemy.connectors.asyncio.await_ = block
sqlalchemy.connectors.asyncio.in_greenlet = lambda: True
sqlalchemy.dialects.postgresql.asyncpg.await_ = block
main()
