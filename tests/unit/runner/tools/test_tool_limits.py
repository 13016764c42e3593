"""What holds for every tool: places, set-up, the run's own time limit, files."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY as METRICS
from pydantic import JsonValue
from structlog.testing import capture_logs

from services.runner.tools import registry
from services.runner.tools.base import BaseTool, ToolContext, ToolOutput, ToolParameters
from services.runner.tools.calling.output import MOST_ARTIFACT_BYTES
from services.runner.tools.registry import ToolRegistry
from shared.steps import Artifact, Effect
from tests.unit.runner.tools.conftest import new_context

Work = Callable[[], Awaitable[Any]]
CONTEXT = new_context()


class Nothing(ToolParameters):
    pass


class Worker(BaseTool[Nothing]):
    """Does what a test gives it to do, two at a time."""

    name = "worker"
    display_name = "Worker"
    description = "Works."
    icon = "IconHammer"
    effect = Effect.PURE
    timeout_s = 10.0
    concurrency = 2
    Parameters = Nothing
    lacks: str | None = None

    def __init__(self, work: Work) -> None:
        self._work = work

    def missing(self) -> str | None:
        return self.lacks

    async def execute(self, arguments: Nothing, context: ToolContext) -> JsonValue | ToolOutput:
        result: JsonValue | ToolOutput = await self._work()
        return result


class Counter:
    """How many are inside at once; all go on when `gate` opens."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.wait_for(self.gate.wait(), 10)
        self.inside -= 1
        return "done"


def errors(reason: str) -> float:
    return METRICS.get_sample_value("studio_tool_errors_total", {"tool": "worker", "reason": reason}) or 0.0


async def full(tools: ToolRegistry, counter: Counter, calls: int) -> list[asyncio.Task[Any]]:
    """So many calls on their way, of which as many as may be have begun."""
    tasks = [asyncio.create_task(tools.call("worker", {}, CONTEXT)) for _ in range(calls)]
    async with asyncio.timeout(5):
        while counter.inside < 2:
            await asyncio.sleep(0)
    return tasks


async def test_no_more_calls_of_a_tool_run_at_once_than_it_has_places() -> None:
    counter = Counter()
    tasks = await full(ToolRegistry({"worker": Worker(counter)}), counter, 6)
    counter.gate.set()
    assert {(await task).result for task in tasks} == {"done"}
    assert counter.most == 2


async def test_a_call_that_gets_no_place_in_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PLACE_WAIT_S", 0.05)
    counter, before = Counter(), errors("busy")
    tools = ToolRegistry({"worker": Worker(counter)})
    tasks = await full(tools, counter, 2)
    outcome = await tools.call("worker", {}, CONTEXT)
    assert (outcome.status, errors("busy")) == ("error", before + 1)
    assert "worker is busy: none of its 2 places became free" in str(outcome.result)
    counter.gate.set()
    assert [(await task).status for task in tasks] == ["ok", "ok"]


async def test_a_cancelled_call_gives_its_place_back_waiting_or_working() -> None:
    counter = Counter()
    tools = ToolRegistry({"worker": Worker(counter)})
    tasks = await full(tools, counter, 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    counter.gate.set()
    outcomes = await asyncio.gather(*(tools.call("worker", {}, CONTEXT) for _ in range(2)))
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]


async def test_a_tool_without_its_set_up_says_so_to_the_model_and_in_the_catalogue() -> None:
    counter, before = Counter(), errors("missing")
    tool = Worker(counter)
    tool.lacks = "WORKER_KEY is not set"
    tools = ToolRegistry({"worker": tool})
    outcome = await tools.call("worker", {}, CONTEXT)
    assert (outcome.status, counter.most, errors("missing")) == ("error", 0, before + 1)
    assert "worker cannot be used here: WORKER_KEY is not set" in str(outcome.result)
    assert tools.catalog()[0]["description"] == "Works. Cannot be used here: WORKER_KEY is not set."


async def test_the_runs_own_time_limit_holds_for_a_call() -> None:
    context = ToolContext("default", "run", None, "call", "key", timeout_s=0.05)
    outcome = await ToolRegistry({"worker": Worker(Counter())}).call("worker", {}, context)
    assert "did not finish within 0.05 seconds" in str(outcome.result)


def file(name: str = "a.txt", size: int = 3) -> Artifact:
    return Artifact(name=name, media_type="text/plain", size=size, data=base64.b64encode(b"abc").decode())


async def call_with(*artifacts: Artifact) -> registry.ToolOutcome:
    async def work() -> ToolOutput:
        return ToolOutput({"told": True}, {"seconds": 2.0, "characters": 7.0}, artifacts)

    return await ToolRegistry({"worker": Worker(work)}).call("worker", {}, CONTEXT)


async def test_files_and_units_go_beside_the_result() -> None:
    outcome = await call_with(file())
    assert (outcome.status, outcome.result) == ("ok", {"told": True})
    assert outcome.units == {"requests": 1.0, "characters": 7.0, "seconds": 2.0}
    assert outcome.artifacts == (file(),)


@pytest.mark.parametrize(
    "artifacts",
    [
        [file("../etc/passwd")],
        [file('a"; filename=b')],
        [file(".hidden")],
        [file(), file()],
        [file(size=MOST_ARTIFACT_BYTES), file("b.txt", 1)],
    ],
)
async def test_files_that_may_not_be_are_the_tools_own_fault(artifacts: list[Artifact]) -> None:
    with capture_logs() as logs:
        outcome = await call_with(*artifacts)
    assert (outcome.status, outcome.artifacts) == ("error", ())
    assert "a fault of its own (ValueError)" in str(outcome.result)
    assert logs[0]["event"] == "tool_crashed"
