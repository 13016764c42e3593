"""The embedded Postgres server: durable over crashes, closed to others, and it heals what a crash left."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from studio.stack import postgres as postgres_module
from studio.stack import postgres_account
from studio.stack.errors import StackError, StartError
from studio.stack.ownership import read_or_make_secret
from studio.stack.ports import LOOPBACK, free_port
from studio.stack.postgres import PostgresServer
from studio.stack.postgres_cluster import find_programs
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a closed home: the user that a root caller gives the server has no way in of its own."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    return closed


@pytest.fixture(scope="module")
def programs(closed: Path) -> Path:
    """The programs in such a home."""
    installed = find_programs().parents[1]
    for part in (installed, installed.with_name(f"{installed.name}.libs")):
        if part.exists():
            shutil.copytree(part, closed / part.name, ignore=shutil.ignore_patterns("include"))
    return closed / installed.name / "pginstall" / "bin"


@pytest.fixture(scope="module")
def server(closed: Path, programs: Path) -> Iterator[PostgresServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_module, "find_programs", lambda: programs)
        with PostgresServer(closed / "data folder") as running:
            yield running


async def _query(server: PostgresServer, statement: str) -> str:
    connection = await asyncpg.connect(server.url)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


async def test_committed_rows_survive_kill_and_restart_on_the_same_port(server: PostgresServer) -> None:
    await _query(server, "CREATE TABLE survivors AS SELECT 42 AS answer")
    port = server.port
    server.kill()
    assert not server.running
    server.start()
    assert server.port == port
    assert await _query(server, "SELECT answer FROM survivors") == "42"
    server.restart()
    assert await _query(server, "SELECT answer FROM survivors") == "42"


async def test_the_settings_that_keep_data_are_on(server: PostgresServer) -> None:
    for name, value in (
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", LOOPBACK),
        ("server_encoding", "UTF8"),
    ):
        assert await _query(server, f"SELECT current_setting('{name}')") == value


async def test_text_is_ordered_by_code_point_on_every_machine(server: PostgresServer) -> None:
    ordered = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b', 'a', 'B', 'é']) x"
    assert await _query(server, ordered) == "Babé"
    assert await _query(server, "SELECT upper('é')") == "É"


async def test_the_role_is_no_superuser_and_may_make_databases(server: PostgresServer) -> None:
    assert await _query(server, "SELECT current_setting('is_superuser')") == "off"
    await _query(server, "CREATE DATABASE another")
    connection = await asyncpg.connect(server.database_url("another"))
    await connection.close()


async def test_nobody_connects_without_the_password(server: PostgresServer) -> None:
    for user, password in (("studio", "wrong"), ("postgres", "")):
        with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)):
            await asyncpg.connect(
                host=LOOPBACK, port=server.port, user=user, password=password, database="studio"
            )
    assert (server.folder / "password").stat().st_mode & 0o077 == 0


def test_it_listens_on_the_loopback_address_only(server: PostgresServer) -> None:
    process = psutil.Process(server.pid)
    listening = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert [(each.laddr.ip, each.laddr.port) for each in listening] == [(LOOPBACK, server.port)]
    assert [each for each in process.net_connections("unix") if each.laddr] == []


def test_it_does_not_run_as_root(server: PostgresServer) -> None:
    assert psutil.Process(server.pid).uids().effective != 0


def test_from_a_closed_home_it_runs_where_it_is_and_passes_that_home_alone(
    server: PostgresServer, programs: Path
) -> None:
    assert Path(psutil.Process(server.pid).exe()) == programs / "postgres"
    if sys.platform != "linux":
        return  # elsewhere there are no capabilities
    facts = dict(line.split(":\t", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines())
    passes_closed_folders = 1 << 2 if os.geteuid() == 0 else 0  # CAP_DAC_READ_SEARCH
    assert int(facts["CapEff"], 16) == passes_closed_folders
    assert int(facts["CapPrm"], 16) == passes_closed_folders


def test_programs_that_only_their_owner_may_run_take_the_wider_capability(
    programs: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(programs.parent, tmp_path / "pginstall"))
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    account = postgres_account.choose_account(copy / "bin", tmp_path)
    assert account.capability == ("dac_override" if os.geteuid() == 0 else None)


async def test_a_backend_that_outlives_its_killed_server_does_not_stop_the_next(
    server: PostgresServer,
) -> None:
    connection = await asyncpg.connect(server.url)
    endless = "SELECT count(*) FROM generate_series(1, 10000000000)"
    query = asyncio.create_task(connection.execute(endless))

    async def has_started() -> bool:
        others = "SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        return "generate_series(1, 1000" in await _query(server, others)

    await eventually(has_started, within_s=20)
    os.kill(server.pid, signal.SIGKILL)
    await eventually(lambda: not server.running)
    server.start()
    assert await _query(server, "SELECT 1") == "1"
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.PostgresError, OSError)):
        await query


def test_a_new_owner_of_the_folder_ends_the_server_left_running(server: PostgresServer) -> None:
    with PostgresServer(server.folder) as successor:
        assert not server.running
        assert successor.healthy()
    server.start()


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(server: PostgresServer) -> None:
    pid_file = server.data / "postmaster.pid"
    recorded = pid_file.read_text()
    server.kill()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file.write_text(recorded.replace(recorded.split("\n")[0], str(stranger.pid), 1))
        server.start()
        assert stranger.poll() is None
        stranger.kill()
    assert server.healthy()


def test_an_empty_pid_file_is_no_obstacle(server: PostgresServer) -> None:
    server.kill()
    (server.data / "postmaster.pid").write_text("")
    server.start()
    assert server.healthy()


def test_a_data_folder_left_half_made_is_made_again(tmp_path: Path) -> None:
    half_made = tmp_path / "data.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    with PostgresServer(tmp_path, fsync=False) as server:
        assert server.healthy()
    assert not half_made.exists()


def test_a_port_lost_before_the_start_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        offered = [other.getsockname()[1], free_port()]
        monkeypatch.setattr(postgres_module, "free_port", lambda: offered.pop(0))
        with PostgresServer(tmp_path, fsync=False) as server:
            assert server.port != other.getsockname()[1]


def test_a_fixed_port_that_is_taken_is_an_error_with_the_servers_words(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        server = PostgresServer(tmp_path, port=other.getsockname()[1], fsync=False)
        with pytest.raises(StartError, match="Address already in use"):
            server.start()
    assert not server.running


def test_root_without_a_way_in_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres_account, "_can_reach", lambda *_: False)
    with pytest.raises(StackError, match=r"does not run as root.*Start as an ordinary user"):
        postgres_account.choose_account(find_programs(), tmp_path)


def test_an_ordinary_user_is_told_whose_data_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StackError, match="belongs to uid"):
        postgres_account.choose_account(find_programs(), tmp_path)


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    made = read_or_make_secret(tmp_path / "secret")
    assert len(made) == 64
    assert read_or_make_secret(tmp_path / "secret") == made
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
