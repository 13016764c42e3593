"""Postgres: the pool, transactions, and which of its errors pass and which never will."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import asyncpg
from asyncpg.pool import Pool, PoolConnectionProxy

from shared.errors import Permanent, Unavailable

Connection = PoolConnectionProxy
COMMAND_TIMEOUT_S: Final = 30.0
ACQUIRE_TIMEOUT_S: Final = 5.0
# Data exceptions, violated constraints, exceeded limits: the value is wrong, and will be wrong again.
PERMANENT_CLASSES: Final = frozenset({"22", "23", "54"})
# What the driver raises when Postgres goes away, also in the middle of an operation.
UNANSWERED: Final = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncio.IncompleteReadError,
    OSError,
    TimeoutError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into Permanent (the values are wrong) or Unavailable (all else)."""
    try:
        yield
    except asyncpg.DataError as error:  # also the client's own, for a value that has no such form
        raise Permanent(f"Postgres refused a value: {error}") from error
    except asyncpg.PostgresError as error:
        if (error.sqlstate or "")[:2] in PERMANENT_CLASSES:
            raise Permanent(f"Postgres refused a row: {error}") from error
        raise Unavailable(f"Postgres failed: {error}") from error
    except UNANSWERED as error:
        raise Unavailable(f"Postgres did not answer: {error or type(error).__name__}") from error


class Database:
    """A pool that is opened lazily, so that a service starts while Postgres is away."""

    def __init__(
        self, url: str, *, size: int = 8, name: str = "studio", options: Mapping[str, str] | None = None
    ) -> None:
        """`options` are settings of the server for every connection."""
        self._url = url
        self._options = dict(options or {})
        self._size = size
        self._name = name
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, committed when the block ends. Raises Unavailable or Permanent."""
        with translated():
            pool = await self._open()
            async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection, connection.transaction():
                yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for reads, each statement on its own."""
        with translated():
            pool = await self._open()
            async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection

    async def ping(self) -> None:
        """Raises Unavailable when Postgres does not answer."""
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._new_pool()
            return self._pool

    async def _new_pool(self) -> Pool:
        return await asyncpg.create_pool(
            self._url,
            min_size=1,
            max_size=self._size,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={
                "application_name": self._name,
                "lock_timeout": "10s",
                "idle_in_transaction_session_timeout": "30s",
                "timezone": "UTC",
                **self._options,
            },
        )
