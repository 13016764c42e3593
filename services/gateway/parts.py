"""The gateway's parts and how they hang together, built once the broker is connected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from services.gateway import store
from services.gateway.bodies import Bodies
from services.gateway.catalog import Catalog
from services.gateway.erasure import Erasure
from services.gateway.hub import Hub
from services.gateway.idempotency import Idempotency
from services.gateway.key_ring import KeyRing, Lookup
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import LogReader
from services.gateway.runs import Runs
from services.gateway.settings import GatewaySettings
from services.gateway.shutdown import on_termination
from services.gateway.starter import Brokered, Starter
from services.gateway.store import KeyRow
from services.gateway.streams import Streams
from services.gateway.tickets import Tickets
from services.gateway.waiter import Waiter
from shared.bodies import BodyStore
from shared.database import Database
from shared.run_log import RunLog
from shared.service import Runtime


@dataclass(frozen=True)
class Parts:
    """What the routes use."""

    settings: GatewaySettings
    key_ring: KeyRing
    tickets: Tickets
    catalog: Catalog
    runs: Runs
    bodies: Bodies
    hub: Hub
    waiter: Waiter
    lifecycle: Lifecycle
    erasure: Erasure
    streams: Streams


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the application that serves this request or WebSocket."""
    parts: Parts = connection.app.state.parts
    return parts


@asynccontextmanager
async def assembled(settings: GatewaySettings, runtime: Runtime) -> AsyncIterator[Parts]:
    """The parts while they work; streams end at the first sign of the process's end."""
    database = Database(settings.database_url, size=settings.database_pool_size, name="gateway")
    parts = _assemble(settings, runtime, database)
    tasks = [
        runtime.keep(asyncio.create_task(parts.hub.run(), name="check the watched runs")),
        runtime.keep(asyncio.create_task(parts.erasure.run(), name="erase deleted runs")),
    ]
    try:
        with on_termination(parts.hub.close):
            yield parts
    finally:
        parts.hub.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


def _key_lookup(database: Database) -> Lookup:
    async def find(key_id: str) -> KeyRow | None:
        async with database.connection() as connection:
            return await store.find_key(connection, key_id)

    return find


def _assemble(settings: GatewaySettings, runtime: Runtime, database: Database) -> Parts:
    client, pepper = runtime.client, settings.api_key_pepper.get_secret_value()
    run_log, reader = RunLog(client, runtime.scrubber), LogReader(client)
    idempotency, catalog = Idempotency(client), Catalog(client)
    bodies = Bodies(BodyStore(client), database)
    runs = Runs(reader, database, bodies)
    hub = Hub(client, reader, heartbeat_s=settings.gateway_heartbeat_s)
    lifecycle = Lifecycle(client, run_log, runs)
    starter = Starter(Brokered(client, run_log, reader, runtime.scrubber), catalog, idempotency, settings)
    return Parts(
        settings=settings,
        key_ring=KeyRing(_key_lookup(database), pepper),
        tickets=Tickets(pepper, idempotency),
        catalog=catalog,
        runs=runs,
        bodies=bodies,
        hub=hub,
        waiter=Waiter(hub, runs, starter),
        lifecycle=lifecycle,
        erasure=Erasure(client, run_log, reader, lifecycle, database),
        streams=Streams(settings.gateway_max_streams),
    )
