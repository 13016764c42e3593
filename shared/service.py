"""What makes a process a service: settings, logs, broker, metrics, health, watchdog, orderly stop.

`make_service` is for the consumers (a FastStream application over ASGI); the gateway, which is a FastAPI
application, uses `make_runtime`, `running` and `operations` directly. Both are the same machinery.
"""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from nats.aio.client import Client
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import request_response

from shared.bus import Durable, client_of, make_broker
from shared.consumer import STEPS_OF_RUNS, Consumer, Form, Handler, T
from shared.dead_letters import DeadLetters
from shared.errors import StudioError, Unavailable
from shared.logging import configure_logging
from shared.puller import Puller
from shared.scrub import Scrubber
from shared.settings import ServiceSettings
from shared.steps import Step
from shared.watchdog import Watchdog

log = structlog.get_logger(__name__)
CHECK_TIMEOUT_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 4.0
Check = Callable[[], Awaitable[None]]
RequestHandler = Callable[[Request], Awaitable[Response]]


@dataclass
class Runtime:
    """What a service holds. `checks` decide about readiness: each raises when not ready."""

    name: str
    broker: NatsBroker
    scrubber: Scrubber
    checks: dict[str, Check] = field(default_factory=dict)
    started: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def client(self) -> Client:
        return client_of(self.broker)

    async def readiness(self) -> dict[str, str]:
        """For every check "ok" or what is wrong, within a bound."""
        if self.stopping.is_set():
            return {"service": "stopping"}
        if not self.started:
            return {"service": "starting"}
        names = ["broker", *self.checks]
        checks = [self._check_broker, *self.checks.values()]
        return dict(zip(names, await asyncio.gather(*(_verdict(check) for check in checks)), strict=True))

    def keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """End the process when a background task dies: a service without its loop is no service."""
        task.add_done_callback(_end_on_failure)
        return task

    def consuming(
        self,
        durable: Durable,
        handler: Handler[Step],
        *,
        most_messages: int = 500,
        only: frozenset[str] | None = None,
    ) -> AbstractAsyncContextManager[Consumer[Step]]:
        """Feed the handler with steps while the block runs."""
        return self.taking(durable, handler, STEPS_OF_RUNS, most_messages=most_messages, only=only)

    @asynccontextmanager
    async def taking(
        self,
        durable: Durable,
        handler: Handler[T],
        form: Form[T],
        *,
        most_messages: int = 500,
        only: frozenset[str] | None = None,
    ) -> AsyncIterator[Consumer[T]]:
        """Feed the handler from a durable consumer while the block runs (see Consumer)."""
        async with Puller(self.client, durable.stream, durable.name, limit=2 * most_messages) as puller:
            letters = DeadLetters(self.client, durable.name)
            consumer = Consumer(puller, handler, letters, form, most_messages=most_messages, only=only)
            self.checks[f"consumer {durable.name}"] = consumer.check
            self.keep(consumer.start())
            try:
                yield consumer
            finally:
                await consumer.stop()

    async def _check_broker(self) -> None:
        if not self.client.is_connected:
            raise StudioError("not connected")


Parts = Callable[[Runtime], AbstractAsyncContextManager[None]]


def make_runtime(name: str, settings: ServiceSettings, *, secrets: Sequence[str] = ()) -> Runtime:
    """A service that is not connected yet. `secrets` are redacted like those of the settings."""
    scrubber = Scrubber((*settings.secrets(), *secrets), settings.redact_patterns)
    configure_logging(name, settings.log_level, scrubber)
    return Runtime(name, make_broker(name, settings.nats_url), scrubber)


@asynccontextmanager
async def running(runtime: Runtime) -> AsyncIterator[None]:
    """Connect and watch; everything is stopped in reverse order when the block ends."""
    await _connect(runtime.broker)
    client = runtime.client
    watchdog = Watchdog(lambda: client.is_closed and not runtime.stopping.is_set())
    watchdog.start()
    _spare_the_collector()
    log.info("service starts")
    try:
        yield
    finally:
        runtime.stopping.set()
        watchdog.stop()
        log.info("service stops")


def make_service(
    name: str, settings: ServiceSettings, parts: Parts, *, secrets: Sequence[str] = ()
) -> AsgiFastStream:
    """A service as an ASGI application: `parts` is entered once the broker is connected."""
    runtime = make_runtime(name, settings, secrets=secrets)
    entered = AsyncExitStack()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with entered:
            await entered.enter_async_context(running(runtime))
            await entered.enter_async_context(parts(runtime))
            runtime.started = True
            yield

    async def leave() -> None:
        """Before FastStream closes the broker: what is under way is finished and acknowledged over it."""
        runtime.stopping.set()
        await entered.aclose()

    return AsgiFastStream(
        runtime.broker,
        asgi_routes=[(path, request_response(handler)) for path, handler in operations(runtime).items()],
        lifespan=lifespan,
        on_shutdown=[leave],
        logger=None,
    )


def operations(runtime: Runtime) -> dict[str, RequestHandler]:
    """The routes of every service: metrics, liveness (touches nothing), readiness."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    async def live(_: Request) -> Response:
        return JSONResponse({"service": "alive"})

    async def ready(_: Request) -> Response:
        verdicts = await runtime.readiness()
        healthy = all(verdict == "ok" for verdict in verdicts.values())
        return JSONResponse(verdicts, status_code=200 if healthy else 503)

    return {"/metrics": metrics, "/health/live": live, "/health/ready": ready}


def _spare_the_collector() -> None:
    """Imports and schemas stay for good: do not look through them again, nor after every few hundred steps.

    Measured with 64 runs at once: 446 instead of 366 runs a second, all services together.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


async def _connect(broker: NatsBroker) -> None:
    """Wait a while for the broker; without it the process ends, and whoever started it tries again."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await broker.connect()
    except TimeoutError as error:
        raise Unavailable(f"no broker answered within {CONNECT_TIMEOUT_S:g} s (NATS_URL)") from error


async def _verdict(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except StudioError as error:
        return str(error)
    return "ok"


def _end_on_failure(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None:
        return
    log.critical("background task died", task=task.get_name(), exc_info=task.exception())
    os.kill(os.getpid(), signal.SIGTERM)
