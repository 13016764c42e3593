"""The gateway's parts and how they hang together, built once the broker is connected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from services.gateway import store
from services.gateway.agents.registry import Agents
from services.gateway.agents.resolution import Resolver
from services.gateway.backlog.crowding import Crowding
from services.gateway.backlog.feeder import Feeder
from services.gateway.backlog.queue import Backlog
from services.gateway.batches.batches import Batches
from services.gateway.bodies import Bodies
from services.gateway.bundles.arrivals import Arrivals
from services.gateway.bundles.departure import Departure
from services.gateway.bundles.trust import Trust
from services.gateway.catalog import Catalog
from services.gateway.clock import Clock
from services.gateway.continuation import Continuation
from services.gateway.diff.diffs import Diffs
from services.gateway.erasure import Erasure
from services.gateway.groups.groups import Groups
from services.gateway.history import History
from services.gateway.hub import Hub
from services.gateway.idempotency import Idempotency
from services.gateway.key_ring import KeyRing, Lookup
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import LogReader
from services.gateway.replaying.book import Replays
from services.gateway.replaying.orders import Orders
from services.gateway.replaying.sources import Sources
from services.gateway.replaying.work import Work
from services.gateway.replays.changes import ChangeResolver
from services.gateway.restoration import Restoration
from services.gateway.runs import Runs
from services.gateway.schedules.book import Schedules
from services.gateway.schedules.scheduler import Scheduler
from services.gateway.sessions.sessions import Sessions
from services.gateway.settings import GatewaySettings
from services.gateway.shutdown import on_termination
from services.gateway.starter import Brokered, Starter
from services.gateway.steering import Steering
from services.gateway.store import KeyRow
from services.gateway.streams import Streams
from services.gateway.tickets import Tickets
from services.gateway.tools.book import ToolBook
from services.gateway.tools.checks import Checks
from services.gateway.waiter import Waiter
from services.gateway.webhooks.deliveries import Deliveries
from services.gateway.webhooks.hooks import Webhooks
from services.gateway.webhooks.sender import Sender
from shared.bodies import BodyStore
from shared.database import Database
from shared.memory import Memory
from shared.payload import Payloads
from shared.run_log import RunLog
from shared.service import Runtime
from shared.tasks import end


@dataclass(frozen=True)
class Parts:
    """What the routes use."""

    settings: GatewaySettings
    key_ring: KeyRing
    tickets: Tickets
    catalog: Catalog
    tools: ToolBook
    tool_checks: Checks
    agents: Agents
    groups: Groups
    idempotency: Idempotency
    runs: Runs
    diffs: Diffs
    replays: Replays
    batches: Batches
    sessions: Sessions
    trust: Trust
    departure: Departure
    arrivals: Arrivals
    feeder: Feeder
    bodies: Bodies
    hub: Hub
    waiter: Waiter
    lifecycle: Lifecycle
    erasure: Erasure
    steering: Steering
    clock: Clock
    database: Database
    streams: Streams
    webhooks: Webhooks
    deliveries: Deliveries
    schedules: Schedules
    scheduler: Scheduler


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
        runtime.keep(asyncio.create_task(parts.clock.run(), name="wake waiting runs")),
        runtime.keep(asyncio.create_task(parts.tools.keep_told(), name="tell of projects' tools")),
        runtime.keep(asyncio.create_task(parts.feeder.run(), name="feed the queue")),
        runtime.keep(asyncio.create_task(parts.deliveries.run(), name="deliver to webhooks")),
        runtime.keep(asyncio.create_task(parts.scheduler.run(), name="start scheduled runs")),
    ]
    try:
        with on_termination(parts.hub.close):
            yield parts
    finally:
        parts.hub.close()
        await end(*tasks)
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
    backlog = Backlog(database, Crowding(client, settings.gateway_queued_runs), Payloads(BodyStore(client)))
    runs = Runs(reader, database, bodies, backlog)
    hub = Hub(client, reader, heartbeat_s=settings.gateway_heartbeat_s)
    lifecycle = Lifecycle(client, run_log, runs, backlog, Restoration(run_log, reader, database))
    steering = Steering(lifecycle)
    sender = Sender(settings.gateway_webhook_allow_private)
    agents = Agents(database, catalog, runtime.scrubber)
    resolver = Resolver(agents, catalog, settings)
    continuation = Continuation(client, reader, runs, lifecycle, History(runs, bodies, lifecycle))
    brokered = Brokered(client, run_log, reader, runtime.scrubber)
    starter = Starter(brokered, resolver, idempotency, continuation)
    waiter = Waiter(hub, runs, starter, backlog)
    trust = Trust(settings)
    sources = Sources(runs, bodies, lifecycle)
    orders = Orders(sources, ChangeResolver(resolver, catalog), catalog, runtime.scrubber)
    return Parts(
        settings=settings,
        key_ring=KeyRing(_key_lookup(database), pepper),
        tickets=Tickets(pepper, idempotency),
        catalog=catalog,
        tools=ToolBook(database, client, catalog),
        tool_checks=Checks(settings.tools_allow_private, runtime.scrubber),
        agents=agents,
        groups=Groups(database, lifecycle),
        idempotency=idempotency,
        runs=runs,
        diffs=Diffs(runs, bodies),
        replays=Replays(orders, Work(client), database),
        batches=Batches(database, backlog, starter, lifecycle),
        sessions=Sessions(database, Memory(client), runtime.scrubber),
        trust=trust,
        departure=Departure(runs, bodies, database, trust),
        arrivals=Arrivals(run_log, reader, runs, database, trust),
        feeder=Feeder(client, run_log, database, backlog, most_batch=settings.gateway_batch_runs),
        bodies=bodies,
        hub=hub,
        waiter=waiter,
        lifecycle=lifecycle,
        steering=steering,
        clock=Clock(database, lifecycle, steering),
        database=database,
        erasure=Erasure(client, run_log, reader, lifecycle, database),
        streams=Streams(settings.gateway_max_streams),
        webhooks=Webhooks(database, sender, pepper),
        deliveries=Deliveries(database, sender, pepper),
        schedules=Schedules(database, starter, runtime.scrubber),
        scheduler=Scheduler(database, waiter.start),
    )
