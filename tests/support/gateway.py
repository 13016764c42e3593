"""A gateway on a loopback port, with what a test needs around it: a key, a client, a runner, the recorder."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from nats.aio.client import Client

from services.cost.handlers import Accountant
from services.gateway.app import make_app
from services.gateway.keys import Keys
from services.recorder.handlers import Recorder
from shared.bodies import BodyStore
from shared.bus import COST, RECORDER, client_of, make_broker
from shared.consumer import STEPS_OF_RUNS, Consumer
from shared.database import Database
from shared.dead_letters import DeadLetters
from shared.price_book import PriceBook
from shared.puller import Puller
from shared.steps import Step
from tests.support.serving import serving

PEPPER = "a pepper for tests only"


@dataclass(frozen=True)
class Gateway:
    """`http` carries a key of the project `default`; `nats` is a connection of the test's own."""

    url: str
    key: str
    http: httpx.AsyncClient
    nats: Client
    database: Database

    async def key_for(self, project: str) -> str:
        return (await Keys(self.database, PEPPER).make(project, "test")).text


@asynccontextmanager
async def running_gateway(
    nats_url: str, database_url: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Gateway]:
    database = Database(database_url)
    key = (await Keys(database, PEPPER).make("default", "test")).text
    given = {"NATS_URL": nats_url, "DATABASE_URL": database_url, "API_KEY_PEPPER": PEPPER, **(environ or {})}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        app = make_app()
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    try:
        async with (
            serving(app) as url,
            make_broker("test-client", nats_url) as broker,
            httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as http,
        ):
            yield Gateway(url, key, http, client_of(broker), database)
    finally:
        await database.close()


@asynccontextmanager
async def projecting(client: Client, database: Database) -> AsyncIterator[None]:
    """The recorder's and the cost service's handlers, fed from the bus while the block runs."""
    handlers = {
        RECORDER: Recorder(database, BodyStore(client)).record,
        COST: Accountant(database, PriceBook()).charge,
    }
    consumers: list[Consumer[Step]] = []
    pullers = [Puller(client, durable.stream, durable.name, limit=1000) for durable in handlers]
    try:
        for puller, (durable, handler) in zip(pullers, handlers.items(), strict=True):
            await puller.__aenter__()
            consumer = Consumer(puller, handler, DeadLetters(client, durable.name), STEPS_OF_RUNS)
            consumer.start()
            consumers.append(consumer)
        yield
    finally:
        for consumer in consumers:
            await consumer.stop()
        for puller in pullers:
            await puller.__aexit__(None, None, None)
