"""Groups of runs over HTTP: what they add up to, and stopping all runs of one."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from services.gateway.examples import RUN_ID, STEPS
from services.gateway.groups import groups
from shared.steps import RunFinished, RunStatus
from shared.subjects import RunKey
from studio import AsyncStudio
from tests.integration.test_gateway_examples import (
    announce_example,
    charged_run,
    key_with,
    play,
    refused,
    same,
)
from tests.support.fake_runner import FakeRunner, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import make
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce_example(running)
        async with projecting(running.nats, running.database):
            yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        await announce_example(gateway)
        serving.scripts["What"] = play(len(STEPS))
        yield serving


async def start(gateway: Gateway, group: str, prompt: str = "hi", **headers: str) -> str:
    answer = await gateway.http.post("/api/runs", json={"prompt": prompt, "group": group}, headers=headers)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


async def group_of(gateway: Gateway, group: str) -> dict[str, Any]:
    answer = await gateway.http.get(f"/api/groups/{quote(group, safe='')}")
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {"by_status": {}, "runs": 0}
    return found


async def counted(gateway: Gateway, group: str, **by_status: int) -> None:
    """Waits until the group's runs are so."""

    async def is_so() -> bool:
        return bool((await group_of(gateway, group))["by_status"] == by_status)

    await eventually(is_so)


async def cancel(gateway: Gateway, group: str, **body: str) -> tuple[int, int]:
    """How many were asked to stop, and how many are left."""
    answer = await gateway.http.post(f"/api/groups/{quote(group, safe='')}/cancel", json=body)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["group"] == group
    return told["asked"], told["left"]


async def test_groups_look_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    await charged_run(gateway, group="nightly")
    same("group", await gateway.http.get("/api/groups/nightly"), run_id=RUN_ID)
    same("group-list", await gateway.http.get("/api/groups"), run_id=RUN_ID)
    runner.scripts["What"] = play(3)
    await start(gateway, "nightly", "What")
    await counted(gateway, "nightly", completed=1, running=1)
    same("group-cancelled", await gateway.http.post("/api/groups/nightly/cancel"), 202, run_id=RUN_ID)


async def test_what_cannot_be_done_to_groups_is_refused_as_in_the_examples(gateway: Gateway) -> None:
    refused("no-such-group", await gateway.http.get("/api/groups/weekly"))
    refused("no-such-group", await gateway.http.post("/api/groups/weekly/cancel"))
    reader = await key_with(gateway, "read")
    refused("read-only-key", await gateway.http.post("/api/groups/weekly/cancel", headers=reader))
    refused("bad-cursor", await gateway.http.get("/api/groups?cursor=2"))


async def test_the_group_used_last_comes_first_page_by_page(gateway: Gateway) -> None:
    for group in ("a", "b", "c", "a"):
        await start(gateway, group)
    await counted(gateway, "a", queued=2)
    await counted(gateway, "c", queued=1)
    await counted(gateway, "b", queued=1)
    first = (await gateway.http.get("/api/groups?limit=2")).json()
    rest = (await gateway.http.get(f"/api/groups?limit=2&cursor={first['next_cursor']}")).json()
    assert [(each["group"], each["runs"]) for each in first["items"]] == [("a", 2), ("c", 1)]
    assert [(each["group"], each["runs"]) for each in rest["items"]] == [("b", 1)]
    assert rest["next_cursor"] is None


async def test_runs_are_counted_by_status_with_tokens_and_cost(gateway: Gateway, runner: FakeRunner) -> None:
    for prompt in ("What", "What", "fail", "hold"):
        await start(gateway, "mixed", prompt)
    await start(gateway, "other")
    await counted(gateway, "mixed", completed=2, failed=1, running=1)

    async def is_charged() -> bool:
        return bool((await group_of(gateway, "mixed"))["total_cost_usd"] == "0.002352")

    await eventually(is_charged)
    mixed = await group_of(gateway, "mixed")
    assert (mixed["runs"], mixed["total_tokens"], mixed["unpriced"]) == (4, 1084, 0)
    assert mixed["usage"]["cached_input"] == 384
    assert mixed["first_run_at"] < mixed["last_run_at"]


async def test_a_deleted_run_is_not_counted(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await start(gateway, "g")
    await start(gateway, "g", "hold")
    await counted(gateway, "g", completed=1, running=1)
    assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code in (202, 204)
    await counted(gateway, "g", running=1)


@pytest.mark.parametrize("group", ["a/b", "a/cancel/b", "cancel", "ä ö?#%", "x" * 200])
async def test_a_label_may_hold_anything(gateway: Gateway, group: str) -> None:
    run_id = await start(gateway, group)
    await counted(gateway, group, queued=1)
    assert await cancel(gateway, group, why="enough") == (1, 0)
    steps = (await gateway.http.get(f"/api/runs/{run_id}")).json()["steps"]
    assert (steps[-1]["kind"], steps[-1]["why"]) == ("cancel-requested", "enough")


async def test_all_runs_of_a_group_are_asked_to_stop_and_no_others(
    gateway: Gateway, runner: FakeRunner
) -> None:
    await start(gateway, "g")
    held = [await start(gateway, "g", "hold") for _ in range(20)]
    other = await start(gateway, "other", "hold")
    await counted(gateway, "g", completed=1, running=20)
    assert await cancel(gateway, "g") == (20, 0)
    for run_id in held:
        steps = (await gateway.http.get(f"/api/runs/{run_id}")).json()["steps"]
        assert [step["kind"] for step in steps].count("cancel-requested") == 1
    steps = (await gateway.http.get(f"/api/runs/{other}")).json()["steps"]
    assert "cancel-requested" not in [step["kind"] for step in steps]


async def test_a_request_stops_so_many_and_the_next_goes_on_with_the_rest(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST_CANCELLED", 3)
    for _ in range(5):
        await start(gateway, "g", "hold")
    await counted(gateway, "g", running=5)
    assert await cancel(gateway, "g") == (3, 2)

    async def rest() -> bool:  # the recorder hears of the first ones a moment later
        return await cancel(gateway, "g") == (0, 0)

    await eventually(rest)
    runs = (await gateway.http.get("/api/runs?group=g")).json()["items"]
    for run in runs:
        steps = (await gateway.http.get(f"/api/runs/{run['run_id']}")).json()["steps"]
        assert [step["kind"] for step in steps].count("cancel-requested") == 1


async def test_the_client_looks_at_groups_and_stops_them(gateway: Gateway, runner: FakeRunner) -> None:
    await start(gateway, "a/b", "hold")
    await counted(gateway, "a/b", running=1)
    async with AsyncStudio(gateway.url, gateway.key) as studio:
        group = await studio.group("a/b")
        assert (group.runs, group.by_status) == (1, {RunStatus.RUNNING: 1})
        assert [each async for each in studio.groups()] == [group]
        assert (await studio.cancel_group("a/b", "enough")).asked == 1


async def test_a_run_that_goes_on_after_a_cancel_is_asked_again(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await start(gateway, "g", "hold")
    await counted(gateway, "g", running=1)
    assert await cancel(gateway, "g") == (1, 0)
    key = RunKey("default", run_id)
    read = await runner.log.read(key)
    end = make(RunFinished, key, len(read.steps), status="cancelled")
    await runner.log.append(key, runner.log.seal([end]), read.sequence)
    await counted(gateway, "g", cancelled=1)
    assert await cancel(gateway, "g") == (0, 0)
    assert (await gateway.http.post(f"/api/runs/{run_id}/retry")).status_code == 202

    async def is_asked_again() -> bool:
        return await cancel(gateway, "g") == (1, 0)

    await eventually(is_asked_again)


async def test_groups_of_another_project_do_not_exist(gateway: Gateway) -> None:
    await start(gateway, "g")
    await counted(gateway, "g", queued=1)
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    assert (await gateway.http.get("/api/groups/g", headers=stranger)).status_code == 404
    assert (await gateway.http.get("/api/groups", headers=stranger)).json()["items"] == []
    assert (await gateway.http.post("/api/groups/g/cancel", headers=stranger)).status_code == 404
    await start(gateway, "g", **stranger)
    await counted(gateway, "g", queued=1)
