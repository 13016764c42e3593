"""The weekly partitions of the steps: bounds by the calendar, made ahead of time, and once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.recorder.partitions import WEEKS_AHEAD, create_partitions, keep_partitions
from shared.database import Connection, Database
from shared.errors import Permanent, Unavailable
from tests.support.recorders import together
from tests.support.waiting import eventually


class AwayAtFirst(Database):
    """A database that does not answer the first time."""

    asked = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("not yet")
        async with super().transaction() as connection:
            yield connection


async def test_partitions_are_created_once_for_every_week_ahead(database: Database) -> None:
    assert await create_partitions(database, 12) == 4
    assert await create_partitions(database, 12) == 0
    assert WEEKS_AHEAD._value.get() == 12


async def test_a_run_is_in_the_partition_of_its_week(database: Database) -> None:
    for weeks in range(-2, 9):
        at = datetime.now(UTC) + timedelta(weeks=weeks)
        run_id = UUID(int=int(at.timestamp() * 1000) << 80 | 0x7ABC_8DEF << 48)
        async with database.connection() as connection:
            place = await connection.fetchval(
                "INSERT INTO steps (run_id, seq, project, kind, at, payload) "
                "VALUES ($1, 0, 'p', 'k', now(), '{}') RETURNING tableoid::regclass::text",
                run_id,
            )
        year, week, _ = at.isocalendar()
        assert place == f"steps_{year}w{week:02}"


async def test_a_step_without_a_partition_is_refused_for_good(database: Database) -> None:
    with pytest.raises(Permanent, match="no partition"):
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO steps (run_id, seq, project, kind, at, payload) "
                "VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 0, 'p', 'k', now(), '{}')"
            )


async def test_two_recorders_that_create_partitions_at_once_share_the_work(database: Database) -> None:
    before = await _partitions(database)
    await together(*(create_partitions(database, 20) for _ in range(4)))
    assert await _partitions(database) == before + 12


async def test_the_upkeep_goes_on_after_a_failure(database_url: str) -> None:
    database = AwayAtFirst(database_url)
    WEEKS_AHEAD.set(0)
    upkeep = asyncio.create_task(keep_partitions(database, 15, 0.05))
    await eventually(lambda: WEEKS_AHEAD._value.get() == 15)
    await eventually(lambda: database.asked > 3)
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)
    await database.close()


async def _partitions(database: Database) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'steps'::regclass"
        )
    return count
