"""The schema: migrations and models agree, and a page of runs comes from an index."""

import os
import subprocess
import sys

import pytest

from services.recorder.partitions import create_partitions
from shared.database import Connection, Database
from tests.support.migrations import ROOT, migrate

SHOWN = "(replay ->> 'mode') IS DISTINCT FROM 'verify'"  # what the list of runs asks for
FILTERS = ("status", "agent", "model", "user_id", "session_id", "group_name")


def _alembic(url: str | None, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "alembic", *command],
        cwd=ROOT,
        env={**environment, **({"DATABASE_URL": url} if url else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    assert "No new upgrade operations" in _alembic(database_url, "check").stdout


async def test_new_partitions_do_not_confuse_the_check(database_url: str, database: Database) -> None:
    await create_partitions(database, 20)
    assert _alembic(database_url, "check").returncode == 0


async def test_the_check_sees_a_difference(database_url: str, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE runs DROP COLUMN rounds")
    check = _alembic(database_url, "check")
    assert check.returncode != 0
    assert "rounds" in check.stdout + check.stderr


async def test_every_migration_can_be_undone_and_done_again(database_url: str, database: Database) -> None:
    assert _alembic(database_url, "downgrade", "base").returncode == 0
    async with database.connection() as connection:
        left = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
    assert {row[0] for row in left} <= {"alembic_version", "alembic_version_pkc", "pk_alembic_version"}
    migrate(database_url)


def test_a_missing_database_url_is_named() -> None:
    run = _alembic(None, "current")
    assert run.returncode != 0
    assert "DATABASE_URL is not set" in run.stderr


@pytest.mark.parametrize("before", ["", "AND run_id < 'ffffffff-0000-0000-0000-000000000000'"])
async def test_a_page_of_runs_comes_from_an_index_in_order(database: Database, before: str) -> None:
    async with database.connection() as connection:
        await _many_runs(connection)
        for column in ("", *FILTERS):
            wanted = f"AND {column} = 'rare'" if column else f"AND {SHOWN}"
            plan = await connection.fetch(
                f"EXPLAIN SELECT * FROM runs WHERE project = 'small' {wanted} {before} "
                "ORDER BY run_id DESC LIMIT 50"
            )
            text = "\n".join(row[0] for row in plan)
            name = f"ix_runs_project_{column}_run_id" if column else "ix_runs_shown"
            assert f"Index Scan Backward using {name}" in text
            assert "Sort" not in text


async def _many_runs(connection: Connection) -> None:
    """Enough that no other plan is cheaper: of the runs of a small project a few are looked for."""
    await connection.execute(
        """
        INSERT INTO runs (run_id, project, status, status_seq, response_seq, last_seq,
                          agent, model, user_id, session_id, group_name)
        SELECT uuidv7(), project, value, 0, -1, 0, value, value, value, value, value
        FROM generate_series(1, 50000) AS n,
        LATERAL (SELECT CASE WHEN n % 500 = 0 THEN 'rare' ELSE 'often' END) AS v (value),
        LATERAL (SELECT CASE WHEN n % 100 = 0 THEN 'small' ELSE 'large' END) AS p (project)
        """
    )
    await connection.execute("ANALYZE runs")
