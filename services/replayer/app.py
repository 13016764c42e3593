"""Wiring only. Run: uvicorn --factory services.replayer.app:make_app"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from faststream.asgi import AsgiFastStream

from services.replayer.advance import Advance
from services.replayer.dispatcher import Dispatcher
from services.replayer.expressions import Expressions
from services.replayer.handlers import Ends
from services.replayer.measuring import Measuring
from services.replayer.orders import ORDERS, Orders
from services.replayer.settings import Settings
from services.replayer.stragglers import Stragglers
from shared.bus import REPLAYER, REPLAYER_ENDS
from shared.database import Database
from shared.price_book import PriceBook
from shared.run_log import RunLog
from shared.service import Runtime, make_service
from shared.tasks import end

KEPT_CONNECTIONS: Final = 3
"""Of the pool, for what is not a look at a replay."""


def make_app() -> AsgiFastStream:
    settings = Settings()
    database = Database(settings.database_url, size=settings.database_pool_size, name="replayer")
    expressions = Expressions()

    @asynccontextmanager
    async def parts(runtime: Runtime) -> AsyncIterator[None]:
        client, run_log = runtime.client, RunLog(runtime.client, runtime.scrubber)
        measuring = Measuring(PriceBook(), expressions, settings.replayer_run_limit_s)
        advance = Advance(database, client, run_log, measuring, settings)
        at_once = max(1, settings.database_pool_size - KEPT_CONNECTIONS)
        in_work, parallel = settings.replayer_open, settings.replayer_parallel
        dispatcher = Dispatcher(database, advance, in_work=in_work, parallel=parallel, at_once=at_once)
        wake, limit = dispatcher.wake, settings.replayer_run_limit_s
        stragglers = Stragglers(database, client, run_log, wake, limit)
        runtime.checks["database"] = database.ping
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            stack.push_async_callback(expressions.close)
            for name, work in (("dispatch", dispatcher.run()), ("stragglers", stragglers.run())):
                stack.push_async_callback(end, runtime.keep(asyncio.create_task(work, name=name)))
            orders = Orders(database, client, wake)
            await stack.enter_async_context(runtime.taking(REPLAYER, orders.take, ORDERS))
            ends = Ends(database, wake)
            await stack.enter_async_context(runtime.consuming(REPLAYER_ENDS, ends.mark))
            yield

    return make_service("replayer", settings, parts)
