"""wandb_log through the official client, against a local server that answers as the API does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runner.tools import wandb_log
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from services.runner.tools.wandb_log import WandbLog
from tests.unit.runner.tools.wandb_server import WandbServer

KEY = "0123456789abcdef0123456789abcdef01234567"
RUN = "0199c0de-0000-7000-8000-000000000001"


@pytest.fixture
async def server() -> AsyncIterator[WandbServer]:
    async with contextlib.AsyncExitStack() as stack:
        fake = WandbServer()
        listening = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
        fake.port = listening.sockets[0].getsockname()[1]
        await stack.enter_async_context(listening)
        yield fake


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)


def tools(server: WandbServer) -> ToolRegistry:
    settings = ToolSettings(wandb_base_url=server.url, wandb_entity="team", wandb_project="studio")
    return ToolRegistry({"wandb_log": WandbLog(settings)})


async def log(registry: ToolRegistry, key: str = "a", **arguments: Any) -> ToolOutcome:
    context = ToolContext("default", RUN, None, "call", key)
    return await registry.call("wandb_log", {"metrics": {"accuracy": 0.93}, **arguments}, context)


async def test_rows_reach_the_run_once_each_and_a_repeated_call_adds_none(server: WandbServer) -> None:
    registry = tools(server)
    first = await log(registry, "a")
    assert first.status == "ok", first.result
    assert first.result == {"project": "studio", "run": f"{server.url}/team/studio/runs/{RUN}", "step": 0}
    # As after a crash: the same call again, by a runner that knows nothing of the first.
    again = await log(tools(server), "a")
    assert isinstance(again.result, dict)
    assert again.result["logged_before"] is True
    second = await log(registry, "b", metrics={"accuracy": 0.95, "loss/val": 2}, step=7)
    assert isinstance(second.result, dict), second.result
    assert second.result["step"] == 7
    rows = server.runs[RUN].history
    assert [(row["_step"], row["accuracy"]) for row in rows] == [(0, 0.93), (7, 0.95)]
    assert rows[1]["loss/val"] == 2
    assert KEY not in str([first, again, second])


async def test_calls_at_the_same_time_come_one_after_the_other(server: WandbServer) -> None:
    registry = tools(server)
    outcomes = await asyncio.gather(*(log(registry, key) for key in ("a", "b", "c")))
    assert {outcome.status for outcome in outcomes} == {"ok"}, outcomes
    assert [row["_step"] for row in server.runs[RUN].history] == [0, 1, 2]


async def test_a_step_behind_the_last_is_told_and_not_lost_in_silence(server: WandbServer) -> None:
    registry = tools(server)
    await log(registry, "a", step=5)
    outcome = await log(registry, "b", step=5)
    assert outcome.status == "error"
    assert "stands at step 5; give a larger step or none" in str(outcome.result)


async def test_nothing_of_the_machine_is_sent(server: WandbServer) -> None:
    await log(tools(server))
    sent = b"".join(server.bodies).decode("utf-8", "replace")
    for own in ("requirements.txt", "services/", "hostname", "/tmp/"):
        assert own not in sent, own


async def test_a_key_that_is_refused_is_told(server: WandbServer) -> None:
    server.graphql_status = "401 Unauthorized"
    outcome = await log(tools(server))
    assert outcome.status == "error"
    assert "did not take the metrics" in str(outcome.result)
    assert KEY not in str(outcome.result)


async def test_rows_that_are_not_taken_are_told_in_bounded_time(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_log, "TIMEOUT_S", 3.0)
    server.stream_status = "500 Internal Server Error"
    outcome = await log(tools(server))
    assert "did not confirm the metrics within 3 s; they may or may not be there" in str(outcome.result)


async def test_the_loop_goes_on_while_metrics_are_logged(server: WandbServer) -> None:
    call, longest = asyncio.create_task(log(tools(server))), 0.0
    loop = asyncio.get_running_loop()
    while not call.done():
        started = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - started)
    assert (await call).status == "ok"
    assert longest < 1.5


@pytest.mark.parametrize(
    "arguments",
    [
        {"metrics": {}},
        {"metrics": {"_step": 1}},
        {"metrics": {"a b": 1}},
        {"metrics": {"a": "text"}},
        {"step": -1},
    ],
)
async def test_what_is_no_row_of_metrics_is_refused(server: WandbServer, arguments: dict[str, Any]) -> None:
    assert (await log(tools(server), **arguments)).status == "error"
    assert server.heads == []


async def test_without_a_key_the_model_is_told(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert "WANDB_API_KEY is not set" in str((await log(tools(server))).result)
    assert server.heads == []
