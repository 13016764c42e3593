"""One run in hand of a runner, on a log in memory: the journal and the loop without a process around them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from pydantic import JsonValue

from services.runner.journal import Journal
from services.runner.live import Silence
from services.runner.loop import RunLoop
from services.runner.means import Means
from services.runner.tools.registry import ToolRegistry
from shared.run_log import RunLog
from shared.run_state import fold
from shared.steps import CancelRequested, Effect, OutcomeResolved, RunStatus, Step, now
from shared.subjects import RunKey
from tests.support.memory_log import Broker, MemoryLog
from tests.support.models import Answer, ScriptedModel
from tests.support.steps import make, new_key, requested, tool_spec
from tests.support.tools import World, counting_tools

ALL_TOOLS = tuple(tool_spec(effect.value, effect) for effect in Effect)


@dataclass
class Bench:
    """A run that was requested, and what is needed to drive it."""

    model: ScriptedModel
    broker: Broker = field(default_factory=Broker)
    key: RunKey = field(default_factory=new_key)
    world: World = field(default_factory=World)
    tools: ToolRegistry | None = None
    clock: Callable[[], datetime] = now

    async def request(self, **fields: Any) -> None:
        door = MemoryLog(self.broker, "gateway")
        await door.request(self.key, door.seal([requested(self.key, **{"tools": ALL_TOOLS, **fields})]))

    async def claim(self, writer: str = "a") -> RunLoop:
        """A runner's loop after its claim is on disk."""
        log = cast("RunLog", MemoryLog(self.broker, writer))
        journal = Journal(log, self.key, await log.read(self.key, fresh=True))
        journal.claim(f"runner-{writer}")
        await journal.commit()
        tools = self.tools or counting_tools(self.world)
        return RunLoop(journal, Means(self.model, tools, self.clock), Silence())

    async def append(self, *steps: Step, writer: str = "gateway") -> None:
        """As another writer does: read, append, and again on conflict."""
        log = MemoryLog(self.broker, writer)
        await log.append(self.key, log.seal(steps), self.broker.last(self.key))

    async def cancel(self) -> None:
        seq = len(self.steps)
        await self.append(make(CancelRequested, self.key, seq, who="user", why="no longer needed"))

    async def resolve(self, decision: str, result: JsonValue = None) -> None:
        """A person says what became of the call whose outcome is unknown."""
        state = fold(self.steps)
        assert state.waiting is not None
        fields = {"call_id": state.waiting.call_id, "decision": decision, "who": "user", "result": result}
        step = make(OutcomeResolved, self.key, state.next_seq, attempt=state.attempt, **fields)
        await self.append(step)

    @property
    def steps(self) -> list[Step]:
        return self.broker.steps(self.key)


def bench(*answers: Answer, **fields: Any) -> Bench:
    return Bench(ScriptedModel(answers), **fields)


async def ended(loop: RunLoop, *, within_s: float = 5.0) -> tuple[RunStatus, str | None]:
    """Drive the run to its end: its status and the type of its failure."""
    async with asyncio.timeout(within_s):
        await loop.drive()
    finished = loop.journal.state.finished
    assert finished is not None
    return finished.status, finished.error.type if finished.error else None


def kinds(steps: Sequence[Step]) -> list[str]:
    return [step.kind for step in steps]
