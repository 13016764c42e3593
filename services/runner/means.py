"""What a run may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from services.runner.journal import Draft
from services.runner.model import Model
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from shared.run_state import RunState
from shared.steps import AgentSnapshot, RunRequested, ToolCall, ToolSpec


class Remote(Protocol):
    """Tools that are described by data: HTTP requests and MCP servers."""

    async def call(
        self, spec: ToolSpec, arguments: dict[str, JsonValue], context: ToolContext
    ) -> ToolOutcome: ...


@dataclass(frozen=True)
class Asked:
    """The agent that answers a call in a run of its own, and the limits of that run where it sets them."""

    agent: AgentSnapshot
    limits: Mapping[str, JsonValue]


class Family(Protocol):
    """The runs that answer calls of other runs. Every method may raise Unavailable."""

    async def answer(self, call: ToolCall, parent: RunRequested, asked: Asked) -> Draft | None:
        """The result of the call; None while its run goes on. Starts the run if there is none."""
        ...

    async def cancel(self, call: ToolCall, why: str) -> None:
        """Ask the run of this call to stop."""
        ...

    async def tell_parent(self, child: RunState) -> None:
        """Put the run that waits for this one back into the queue."""
        ...


@dataclass(frozen=True)
class Means:
    """The model, the tools, the clock, other runs."""

    model: Model
    tools: ToolRegistry
    clock: Callable[[], datetime]
    remote: Remote | None = None
    family: Family | None = None
