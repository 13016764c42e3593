"""A real broker and a real database for every test that asks; each test gets clean ones."""

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from multiprocessing.util import Finalize
from pathlib import Path

import asyncpg
import psutil
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ServerError

from shared.bus import BusSettings, buckets, client_of, declare, jetstream, make_broker, streams
from shared.database import Database
from shared.run_log import RunLog
from shared.scrub import Scrubber
from studio.stack.nats import NatsServer
from studio.stack.postgres import PostgresServer
from tests.support.migrations import migrate
from tests.support.rehearsed import check_logs
from tests.support.waiting import eventually

_names = itertools.count()
STORE_NOT_CREATED = 10049
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 6 * 1024**3
"""Bytes; the suite uses about a fourth of it."""


def pytest_configure() -> None:
    """Keep the data of the tests in memory where there is room: else a disk takes a fourth of the time."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < MEMORY_NEEDED:
        return
    folder = tempfile.mkdtemp(prefix="studio-tests-", dir=MEMORY)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    # After multiprocessing has removed its own folder, which it does at a priority of -100.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def nats_url(nats_server: NatsServer) -> AsyncIterator[str]:
    """The broker with freshly declared, empty streams and consumers.

    After the test every run that a runner recorded on it is rehearsed: it has to be equal.
    """
    settings = BusSettings(nats_url=nats_server.url, run_ack_wait_s=2)
    async with make_broker("test-setup", nats_server.url) as broker:
        js = jetstream(client_of(broker))
        for name in [
            *(config.name for config in streams(settings)),
            *(f"KV_{each.bucket}" for each in buckets(settings)),
        ]:
            try:
                await js.delete_stream(str(name))
            except NotFoundError:
                continue
        await eventually(lambda: _declared(js, settings))
        yield nats_server.url
        await check_logs(client_of(broker))


async def _declared(js: JetStreamContext, settings: BusSettings) -> bool:
    """False while the server is still removing the files of a stream that was just deleted."""
    try:
        await declare(js, settings)
    except ServerError as error:
        if error.err_code != STORE_NOT_CREATED:
            raise
        return False
    return True


@pytest.fixture
async def run_log(nats_url: str) -> AsyncIterator[RunLog]:
    async with make_broker("test", nats_url) as broker:
        yield RunLog(client_of(broker), Scrubber())


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), fsync=False) as server:
        migrate(server.url)
        yield server


@pytest.fixture
async def database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """An empty database of the current schema, cloned from the migrated one."""
    name = f"test_{next(_names)}"
    admin = await asyncpg.connect(postgres_server.database_url("postgres"))
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE studio')
        yield postgres_server.database_url(name)
        await eventually(lambda: _dropped(admin, name))
    finally:
        await admin.close()


async def _dropped(admin: asyncpg.Connection, name: str) -> bool:
    """False while the server tidies up in the database by itself: only a superuser may end that."""
    try:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()
