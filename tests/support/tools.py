"""Tools that count what they did, one for each effect."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from services.runner.tools.base import BaseTool, ToolContext, ToolParameters
from services.runner.tools.registry import ToolRegistry
from shared.steps import Effect

Hook = Callable[[], Coroutine[Any, Any, None]]


class ValueParameters(ToolParameters):
    value: int = 0


async def _at_once() -> None:
    await asyncio.sleep(0)


@dataclass
class World:
    """What the tools have done so far: the idempotency keys of each tool's acts, in order."""

    acts: dict[str, list[str]] = field(default_factory=dict)

    def of(self, tool: str) -> list[str]:
        return self.acts.get(tool, [])


class CountingTool(BaseTool[ValueParameters]):
    """Doubles the value; `before` runs before the act and `after` once it is done."""

    display_name, description, icon = "Counting", "Doubles a value and counts that it did.", "IconPlus"
    Parameters = ValueParameters

    def __init__(self, world: World, name: str, effect: Effect, before: Hook, after: Hook) -> None:
        self.world, self._before, self._after = world, before, after
        self.name, self.effect = name, effect  # type: ignore[misc]  # one class for all three effects

    async def execute(self, arguments: ValueParameters, context: ToolContext) -> JsonValue:
        await self._before()
        self.world.acts.setdefault(self.name, []).append(context.idempotency_key)
        await self._after()
        return {"doubled": arguments.value * 2}


def counting_tools(world: World, *, before: Hook = _at_once, after: Hook = _at_once) -> ToolRegistry:
    """The tools `pure`, `idempotent` and `irreversible`."""
    return ToolRegistry({e.value: CountingTool(world, e.value, e, before, after) for e in Effect})
