"""Announces on the bus what this runner can do: its tools, and the models its provider offers.

The gateway checks requests against it; the last announcement of each kind stays on the bus.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.runner.mistral import MistralModel
from services.runner.model import ModelFailed
from services.runner.tools.registry import ToolRegistry
from shared.bus import CATALOG, jetstream
from shared.catalog import Models, SecretName, Tools
from shared.steps import now
from shared.subjects import catalog_subject

log = structlog.get_logger(__name__)
EVERY_S: Final = 300.0
RETRY_S: Final = 5.0


class Announcer:
    def __init__(
        self,
        client: Client,
        tools: ToolRegistry,
        model: MistralModel,
        provider: str,
        secrets: Sequence[SecretName] = (),
    ) -> None:
        self._js = jetstream(client)
        self._tools = tools
        self._secrets = secrets
        self._model = model
        self._provider = provider

    async def run(self) -> None:
        """Until cancelled, again and again: a provider may offer new models at any time."""
        while True:
            content = {"tools": self._tools.catalog(), "secrets": self._secrets, "at": now()}
            told = await self._announce("tools", Tools.model_validate(content))
            known = told and await self._announce_models()
            await asyncio.sleep(EVERY_S if known else RETRY_S)

    async def _announce_models(self) -> bool:
        """False when it is worth asking again soon: some servers have no list at all."""
        try:
            models = await self._model.names()
        except ModelFailed as error:
            log.warning("the provider did not list its models", error=str(error))
            return not error.failure.retryable
        announcement = Models(provider=self._provider, models=tuple(models), at=now())
        return await self._announce("models", announcement)

    async def _announce(self, what: str, content: Tools | Models) -> bool:
        try:
            await self._js.publish(catalog_subject(what), content.model_dump_json().encode(), stream=CATALOG)
        except (NatsError, OSError) as error:
            log.warning("not announced", what=what, error=str(error))
            return False
        return True
