"""Announces on the bus what this runner can do: its tools, and the models its provider offers.

The gateway checks requests against it; the last announcement of each kind stays on the bus.
"""

import asyncio
import json
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.runner.mistral import MistralModel
from services.runner.model import ModelFailed
from services.runner.tools.registry import ToolRegistry
from shared.bus import CATALOG, catalog_subject, jetstream
from shared.steps import now

log = structlog.get_logger(__name__)
EVERY_S: Final = 300.0
RETRY_S: Final = 5.0


class Announcer:
    def __init__(self, client: Client, tools: ToolRegistry, model: MistralModel, provider: str) -> None:
        self._js = jetstream(client)
        self._tools = tools
        self._model = model
        self._provider = provider

    async def run(self) -> None:
        """Until cancelled, again and again: a provider may offer new models at any time."""
        while True:
            if not await self._announce("tools", {"tools": self._tools.catalog()}):
                await asyncio.sleep(RETRY_S)
                continue
            try:
                models = await self._model.names()
            except ModelFailed as error:
                log.warning("the provider did not list its models", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            known = await self._announce("models", {"provider": self._provider, "models": models})
            await asyncio.sleep(EVERY_S if known else RETRY_S)

    async def _announce(self, what: str, content: dict[str, object]) -> bool:
        payload = json.dumps({**content, "at": now().isoformat()}).encode()
        try:
            await self._js.publish(catalog_subject(what), payload, stream=CATALOG)
        except (NatsError, OSError) as error:
            log.warning("not announced", what=what, error=str(error))
            return False
        return True
