"""The bus: streams and durable consumers, declared here and nowhere else, and the way to connect.

`python -m shared.bus` declares everything once, before any service starts; services never do. Consuming
is in `shared.puller` and `shared.consumer`, appending to a run's log in `shared.run_log`.
"""

import asyncio
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final
from urllib.parse import unquote, urlsplit

import structlog
from faststream.nats import NatsBroker
from faststream.nats.security import NatsUserPassword
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BucketNotFoundError, NotFoundError
from pydantic import Field

from shared.settings import ServiceSettings

log = structlog.get_logger(__name__)

RUNS: Final = "RUNS"
WORK: Final = "WORK"
DEAD: Final = "DEAD"
CATALOG: Final = "CATALOG"
BODIES: Final = "BODIES"
IDEMPOTENCY_BUCKET: Final = "idempotency"
MEMORY: Final = "memory"
SESSIONS: Final = "sessions"

DAY_S: Final = 86_400
KINDS_HEADER: Final = "Step-Kinds"
"""Header of every message of the log: the kinds of its steps, comma separated."""

MIB: Final = 1024 * 1024
RETENTION_S: Final = 7 * DAY_S
DEDUPLICATION_S: Final = 120
DISCONNECT_S: Final = 5.0


class BusSettings(ServiceSettings):
    """What the declaration needs to know about the deployment."""

    nats_replicas: int = Field(default=1, ge=1, le=5)
    run_ack_wait_s: float = Field(
        default=10.0, ge=1, description="How long after a runner's last heartbeat another takes its runs."
    )
    runs_max_bytes: int = Field(default=4096 * MIB, description="Above it the gateway answers 503.")


@dataclass(frozen=True)
class Durable:
    """A durable consumer: its name, stream and filter, and how many messages may be unacknowledged."""

    name: str
    stream: str
    subject: str
    ack_wait_s: float = 30.0
    max_ack_pending: int = 20_000

    def config(self, replicas: int) -> ConsumerConfig:
        # Attempts are counted in the run's log, so delivery never gives up; a bare negative
        # acknowledgement would redeliver at once, hence consumers only ever use a delay.
        return ConsumerConfig(
            durable_name=self.name,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_s,
            max_deliver=-1,
            max_ack_pending=self.max_ack_pending,
            max_waiting=2048,
            num_replicas=replicas,
        )


# One filter each: with several, the server needs seventeen times the work for a message of a backlog.
RUNNER: Final = Durable("runner", RUNS, "run.job.>", ack_wait_s=10.0)
RECORDER: Final = Durable("recorder", RUNS, "run.>")
COST: Final = Durable("cost", RUNS, "run.>")
REPLAYER: Final = Durable("replayer", WORK, "work.replay.>")
REPLAYER_ENDS: Final = Durable("replayer-ends", WORK, "work.ended.>")


def streams(settings: BusSettings) -> list[StreamConfig]:
    """Every stream. `discard: new` because the default silently deletes what is still queued."""

    def stream(name: str, subjects: list[str], max_bytes: int) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=subjects,
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=RETENTION_S,
            max_bytes=max_bytes,
            num_replicas=settings.nats_replicas,
            duplicate_window=DEDUPLICATION_S,
            allow_direct=True,
        )

    runs = stream(RUNS, ["run.job.>", "run.log.>", "run.redo.>"], settings.runs_max_bytes)
    catalog = stream(CATALOG, ["catalog.>"], 64 * MIB)
    return [
        runs.evolve(republish=RePublish(src="run.log.>", dest="run.stored.log.>")),
        stream(WORK, ["work.>"], 256 * MIB),
        stream(DEAD, ["dead.>"], 256 * MIB).evolve(max_age=30 * DAY_S),
        stream(BODIES, ["body.>"], 1024 * MIB).evolve(max_msgs_per_subject=1),
        catalog.evolve(max_msgs_per_subject=1, discard=DiscardPolicy.OLD, max_age=0),
    ]


def durables(settings: BusSettings) -> list[Durable]:
    return [replace(RUNNER, ack_wait_s=settings.run_ack_wait_s), RECORDER, COST, REPLAYER, REPLAYER_ENDS]


async def declare(js: JetStreamContext, settings: BusSettings) -> None:
    """Create or update every stream, bucket and durable consumer. Safe to repeat."""
    for config in streams(settings):
        # Update first: creating counts the reserved bytes again, even for a stream that exists.
        try:
            await js.update_stream(config)
        except NotFoundError:
            await js.add_stream(config)
    for bucket in buckets(settings):
        await _declare_bucket(js, bucket)
    for durable in durables(settings):
        await js.add_consumer(durable.stream, durable.config(settings.nats_replicas))


def buckets(settings: BusSettings) -> list[KeyValueConfig]:
    """Every key-value bucket.

    An idempotency key takes a tenth of the bytes of the smallest run: RUNS is full before its keys are.
    """
    replicas = settings.nats_replicas
    return [
        KeyValueConfig(
            bucket=IDEMPOTENCY_BUCKET,
            ttl=RETENTION_S,
            max_bytes=settings.runs_max_bytes // 8,
            replicas=replicas,
        ),
        KeyValueConfig(bucket=SESSIONS, ttl=RETENTION_S, history=1, max_bytes=256 * MIB, replicas=replicas),
        KeyValueConfig(bucket=MEMORY, history=1, max_bytes=256 * MIB, replicas=replicas, direct=True),
    ]


async def _declare_bucket(js: JetStreamContext, wanted: KeyValueConfig) -> None:
    try:
        bucket = await js.key_value(wanted.bucket)
    except (BucketNotFoundError, NotFoundError):
        await js.create_key_value(wanted)
    else:
        config = (await bucket.status()).stream_info.config
        await js.update_stream(config.evolve(max_bytes=wanted.max_bytes, num_replicas=wanted.replicas))


class _Broker(NatsBroker):
    """Leaves within a bound, also while it is trying to reconnect, where draining is refused."""

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        client = self._connection
        try:
            async with asyncio.timeout(DISCONNECT_S):
                await super().stop(exc_type, exc_val, exc_tb)
        except (NatsError, TimeoutError) as error:
            log.info("the connection is cut, not drained", error=str(error) or type(error).__name__)
            if client is not None:
                await client.close()


def make_broker(name: str, nats_url: str) -> NatsBroker:
    """The connection of one service: reconnects for ever, its own inbox, no client-side declaration.

    The client's defaults give up after two minutes and then spin at full load; and its buffer for the
    time without a connection would send a message after its sender was told that it failed.
    """
    servers = nats_url.split(",")
    return _Broker(
        [_without_password(server) for server in servers],
        security=_security(servers[0]),
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=20,
        connect_timeout=3,
        pending_size=-1,
        inbox_prefix=f"_INBOX_{name}",
        logger=None,
        apply_types=False,
    )


def _security(server: str) -> NatsUserPassword | None:
    """User and password of the address, for every server: those that the cluster tells of come without."""
    parts = urlsplit(server)
    if parts.username is None or parts.password is None:
        return None
    return NatsUserPassword(unquote(parts.username), unquote(parts.password))


def _without_password(server: str) -> str:
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def client_of(broker: NatsBroker) -> Client:
    return broker.connection


def jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=5)


async def main() -> None:
    settings = BusSettings()
    broker = make_broker("setup", settings.nats_url)
    async with broker:
        await declare(jetstream(client_of(broker)), settings)


if __name__ == "__main__":
    asyncio.run(main())
