"""The tools by name: what they are, what a call would do, and the call itself with an outcome always."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, JsonValue

from services.runner.tools import discovery
from services.runner.tools.base import BaseTool, ToolContext, ToolError
from services.runner.tools.calling.arguments import parse
from services.runner.tools.calling.execution import crashed, execute
from services.runner.tools.calling.metrics import TOOL_ERRORS, TOOL_SECONDS
from services.runner.tools.calling.output import Output, bounded
from services.runner.tools.settings import ToolSettings
from shared.service import Runtime
from shared.steps import Artifact, Effect

PLACE_WAIT_S: Final = 30.0


@dataclass(frozen=True)
class ToolOutcome:
    """How a call ended; `units` is what pricing may count: requests, characters of the result."""

    status: Literal["ok", "error"]
    result: JsonValue
    latency_ms: int
    units: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


class UnknownToolError(ToolError):
    reason: ClassVar[str] = "unknown"


class BusyError(ToolError):
    """As many calls of the tool as may be are under way."""

    reason: ClassVar[str] = "busy"


class ToolRegistry:
    def __init__(self, tools: Mapping[str, BaseTool[Any]]) -> None:
        self._tools = dict(tools)
        self._places = {name: asyncio.Semaphore(tool.concurrency) for name, tool in tools.items()}

    @classmethod
    def discover(cls, settings: ToolSettings) -> Self:
        """Every tool that is installed. Raises ToolDiscoveryError that names the one that is broken."""
        return cls(discovery.discover(settings))

    def connect(self, runtime: Runtime) -> None:
        """Give the tools the broker; before this, those that need it cannot be called."""
        for tool in self._tools.values():
            tool.connect(runtime)

    def get(self, name: str) -> BaseTool[Any] | None:
        return self._tools.get(name)

    def names(self) -> list[str]:
        return list(self._tools)

    def catalog(self) -> list[dict[str, JsonValue]]:
        return [_describe(tool) for tool in self._tools.values()]

    def effect_of(self, name: str, arguments: object) -> Effect:
        """The effect of this very call. Raises ToolError that tells the model what is wrong with it."""
        tool, parsed = self._parse(name, arguments)
        try:
            return tool.effect_of(parsed)
        except Exception as error:  # noqa: BLE001 - a tool's code may raise anything; it is logged
            crashed(name, error)
            return tool.effect

    async def call(self, name: str, arguments: dict[str, JsonValue], context: ToolContext) -> ToolOutcome:
        """Check, run, bound and measure one call. Raises nothing but CancelledError."""
        started = time.perf_counter()
        label = name if name in self._tools else "unknown"
        try:
            output = await self._run(name, arguments, context)
        except ToolError as error:
            TOOL_ERRORS.labels(label, error.reason).inc()
            return _outcome("error", label, bounded(str(error), 8192), started)
        return _outcome("ok", label, output, started)

    async def _run(self, name: str, arguments: object, context: ToolContext) -> Output:
        tool, parsed = self._parse(name, arguments)
        async with self._place(name):
            result = await execute(tool, parsed, context)
        try:
            return bounded(result, tool.output_limit)
        except (TypeError, ValueError, RecursionError) as error:
            raise crashed(name, error, context) from error

    @asynccontextmanager
    async def _place(self, name: str) -> AsyncIterator[None]:
        """One of the places for calls of the tool, in the order of arrival."""
        places = self._places[name]
        try:
            # Not wait_for: it swallows a cancel that comes in the same moment as the place.
            async with asyncio.timeout(PLACE_WAIT_S):
                await places.acquire()
        except TimeoutError:
            raise BusyError(
                f"{name} is busy: none of its {self._tools[name].concurrency} places became free within "
                f"{PLACE_WAIT_S:g} seconds; try again later or go on without it."
            ) from None
        try:
            yield
        finally:
            places.release()

    def _parse(self, name: str, arguments: object) -> tuple[BaseTool[Any], BaseModel]:
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownToolError(
                f"There is no tool {name[:80]!r}. The tools are: {', '.join(self._tools)}."
            )
        try:
            return tool, parse(tool, arguments)
        except ToolError:
            raise
        except Exception as error:  # a tool's validators may raise anything
            raise crashed(name, error) from error


def _outcome(status: Literal["ok", "error"], label: str, output: Output, started: float) -> ToolOutcome:
    seconds = time.perf_counter() - started
    TOOL_SECONDS.labels(label, status).observe(seconds)
    units = {"requests": 1.0, "characters": float(output.characters), **output.units}
    return ToolOutcome(status, output.value, round(seconds * 1000), units, output.artifacts)


def _describe(tool: BaseTool[Any]) -> dict[str, JsonValue]:
    missing = tool.missing()
    return {
        "name": tool.name,
        "display_name": tool.display_name,
        "description": f"{tool.description} Cannot be used here: {missing}." if missing else tool.description,
        "icon": tool.icon,
        "effect": tool.effect.value,
        "needs_approval": tool.needs_approval,
        "parameters": tool.parameters_schema(),
        "timeout_s": tool.timeout_s,
    }
