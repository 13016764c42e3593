"""A run and its replays on a log in memory, each through as many runner processes as it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.runner.tools.registry import ToolRegistry
from shared.steps import Edit, Effect, ReplayPlan, RunRequested, Step, ToolAnswer
from shared.subjects import RunKey
from tests.support.memory_log import Broker, MemoryLog
from tests.support.memory_runner import Cluster, Hook, InFlight
from tests.support.models import Answer, ScriptedModel
from tests.support.steps import new_key, requested, tool_spec
from tests.support.tools import World, counting_tools

ALL_TOOLS = tuple(tool_spec(effect.value, effect) for effect in Effect)


@dataclass
class Played:
    """A run that has been played: its steps, what its tools did, what its model was asked."""

    key: RunKey
    broker: Broker
    request: RunRequested
    world: World
    model: ScriptedModel
    cluster: Cluster

    @property
    def steps(self) -> list[Step]:
        return self.broker.steps(self.key)


@dataclass
class Stage:
    """One broker for a run and its replays."""

    broker: Broker = field(default_factory=Broker)

    async def play(
        self, answers: Sequence[Answer], *, crashes: Sequence[tuple[int, InFlight]] = (), **snapshot: Any
    ) -> Played:
        key, world, model = new_key(), World(), ScriptedModel(answers)

        def tools(hook: Callable[[str], Hook]) -> ToolRegistry:
            return counting_tools(world, before=hook("tool: act"), after=hook("tool: done"))

        cluster = Cluster(model, tools)
        cluster.broker = self.broker
        door = MemoryLog(self.broker, "gateway")
        request = requested(key, **{"tools": ALL_TOOLS, **snapshot})
        await door.request(key, door.seal([request]))
        assert await cluster.drive(key, list(crashes)) == "ack"
        return Played(key, self.broker, request, world, model, cluster)

    async def replay(
        self,
        source: Played,
        mode: str = "rerun",
        answers: Sequence[Answer] = ("Never asked.",),
        *,
        crashes: Sequence[tuple[int, InFlight]] = (),
        snapshot: dict[str, Any] | None = None,
        **plan: Any,
    ) -> Played:
        """Replay the run, with this otherwise than in its step 0."""
        replayed = ReplayPlan(mode=mode, source_run_id=source.key.run_id, **plan)
        names = ("agent", "model", "prompt", "instructions", "parameters", "tools", "agents", "max_rounds")
        same = {name: getattr(source.request, name) for name in names}
        fields = {**same, **(snapshot or {}), "replay": replayed}
        return await self.play(answers, crashes=crashes, **fields)


def edit(step: int, name: str, value: Any, call_id: str | None = None) -> Edit:
    return Edit(step=step, field=name, value=value, call_id=call_id)


def answers(answer: str, on_miss: str = "live", **fields: Any) -> ToolAnswer:
    return ToolAnswer(answer=answer, on_miss=on_miss, **fields)
