"""The tools that are described by data, behind the same bounds and measures as the runner's own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

from pydantic import JsonValue, RootModel

from services.runner.remote.http import HttpCaller
from services.runner.remote.mcp import Mcp
from services.runner.remote.secrets import Secrets
from services.runner.remote.settings import RemoteSettings
from services.runner.tools.base import BaseTool, ToolContext
from services.runner.tools.registry import PLACE_WAIT_S, BusyError, ToolOutcome, ToolRegistry
from shared.json_schema import complaint
from shared.public_http import PublicTransport
from shared.steps import ToolSpec

Carry = Callable[[ToolSpec, dict[str, JsonValue], ToolContext], Awaitable[JsonValue]]
Places = WeakValueDictionary[tuple[str, str], asyncio.Semaphore]
GRACE_S: Final = 2.0
"""So that the caller, who knows what a timeout means for its request, speaks before the common bound."""


class Arguments(RootModel[dict[str, JsonValue]]):
    """They were held against the tool's schema when the model asked for the call."""


class RemoteTools:
    """Calls of tools with the source `http` or `mcp`. In the metrics each source is one tool."""

    def __init__(self, settings: RemoteSettings) -> None:
        allow = settings.tools_allow_private
        self.secrets = Secrets(settings.tool_secrets)
        self._transport = PublicTransport(allow)
        self.servers = Mcp(self.secrets, settings.mcp_stdio, allow)
        self.local = tuple(settings.mcp_stdio)
        self._carry: dict[str, Carry] = {
            "http": HttpCaller(self._transport, self.secrets).call,
            "mcp": self.servers.call,
        }
        self._places: Places = WeakValueDictionary()

    async def call(
        self, spec: ToolSpec, arguments: dict[str, JsonValue], context: ToolContext
    ) -> ToolOutcome:
        """Run, bound and measure one call. Raises nothing but CancelledError."""
        key = (context.project, str(spec.settings.get("server") or spec.name))
        place = self._places.setdefault(key, asyncio.Semaphore(RemoteTool.concurrency))
        tool = RemoteTool(spec, self._carry[spec.source], place)
        bound = replace(context, timeout_s=spec.timeout_s + PLACE_WAIT_S + GRACE_S)
        return await ToolRegistry({spec.source: tool}).call(spec.source, arguments, bound)

    def complaint(self, spec: ToolSpec, arguments: JsonValue) -> str | None:
        """What of the arguments does not fit the tool's schema; None when they fit."""
        return complaint(spec.parameters, arguments)

    async def close(self) -> None:
        await self.servers.close()
        await self._transport.aclose()


class RemoteTool(BaseTool[Arguments]):
    """One call's tool. `place` is shared by all calls of it, or of its server, in one project."""

    display_name, description, icon = "Remote", "A tool that is described by data.", ""
    Parameters = Arguments

    def __init__(self, spec: ToolSpec, carry: Carry, place: asyncio.Semaphore) -> None:
        self.name, self.effect = spec.name, spec.effect  # type: ignore[misc]  # one class for all remote tools
        limit = spec.settings.get("max_response_bytes")
        self.output_limit = limit + 1024 if isinstance(limit, int) else 64 * 1024  # type: ignore[misc]  # likewise
        self._spec = spec
        self._carry = carry
        self._place = place

    async def execute(self, arguments: Arguments, context: ToolContext) -> JsonValue:
        try:
            # Not wait_for: it swallows a cancel that comes in the same moment as the place.
            async with asyncio.timeout(PLACE_WAIT_S):
                await self._place.acquire()
        except TimeoutError:
            raise BusyError(
                f"{self.name} is busy: none of {self.concurrency} places became free within {PLACE_WAIT_S:g} "
                "seconds; try again later or go on without it."
            ) from None
        try:
            return await self._carry(self._spec, arguments.root, context)
        finally:
            self._place.release()
