"""What a run may use."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from services.runner.calls import CheckedCall
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


AnswerOf = Callable[[CheckedCall], Draft | None]
"""The result of a call where it is known without making it."""


class Answers(Protocol):
    """What a replay has of its source instead of calls."""

    def thinking(self, copied: Iterable[int], tools: Sequence[ToolSpec]) -> AnswerOf:
        """The answers to the calls of one thought, which are asked for once each, in order. `copied` are the
        steps of the source that were used before, `tools` those of the agent that thinks."""
        ...


class NoAnswers:
    """Every call is made."""

    def thinking(self, copied: Iterable[int], tools: Sequence[ToolSpec]) -> AnswerOf:
        return lambda call: None


@dataclass(frozen=True)
class Means:
    """The model, the tools, the clock, other runs, and what is known without any of them."""

    model: Model
    tools: ToolRegistry
    clock: Callable[[], datetime]
    remote: Remote | None = None
    family: Family | None = None
    answers: Answers = field(default_factory=NoAnswers)
