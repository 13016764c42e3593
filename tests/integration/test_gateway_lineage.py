"""Which run another one replays: in its view, in lists, and as a tree."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway.examples import ANSWERS, REPLAY_ID, RUN_ID
from shared.steps import (
    Edit,
    ReplayPlan,
)
from shared.subjects import RunKey
from tests.support.fake_runner import announce, answer, use_tool
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.replaying import PLAN, is_recorded, played, verifies


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


async def test_a_run_says_of_which_it_is_the_replay_before_and_after_it_is_recorded(
    gateway: Gateway, recorded: None
) -> None:
    run = await played(gateway, replay=PLAN)
    from_log = (await gateway.http.get(f"/api/runs/{run.run_id}")).json()
    await is_recorded(gateway, run)
    listed = (await gateway.http.get("/api/runs")).json()["items"]
    shown = PLAN.model_dump(mode="json", exclude={"tools", "told_at"})
    assert from_log["replay"] == listed[0]["replay"] == shown
    plain = await played(gateway)
    assert (await gateway.http.get(f"/api/runs/{plain.run_id}")).json()["replay"] is None


async def test_runs_are_found_by_replay_and_source_and_verifications_only_if_asked_for(
    gateway: Gateway, recorded: None
) -> None:
    source = await played(gateway)
    plan = PLAN.model_copy(update={"source_run_id": source.run_id})
    fork = await played(gateway, replay=plan)
    verify = ReplayPlan(mode="verify", source_run_id=source.run_id, replay_id=RUN_ID)
    verification = await played(gateway, verifies, replay=verify)
    for run in (source, fork, verification):
        await is_recorded(gateway, run)

    async def listed(**query: str) -> list[str]:
        items = (await gateway.http.get("/api/runs", params=query)).json()["items"]
        return [item["run_id"] for item in items]

    assert await listed() == [fork.run_id, source.run_id]
    assert await listed(verifications="true") == [verification.run_id, fork.run_id, source.run_id]
    assert await listed(replay_id=REPLAY_ID) == [fork.run_id]
    assert await listed(replay_id=RUN_ID) == [verification.run_id]
    assert await listed(source_run_id=source.run_id) == [verification.run_id, fork.run_id]
    simple = (await gateway.http.get("/runs")).json()
    assert [item["run_id"] for item in simple] == [fork.run_id, source.run_id]
    assert (await gateway.http.get("/api/runs?replay_id=x")).status_code == 422


async def family(gateway: Gateway) -> dict[str, RunKey]:
    """root ← fork ← again, and a verification of the fork."""
    runs: dict[str, RunKey] = {"root": await played(gateway)}
    plans = {
        "fork": ("root", PLAN),
        "again": ("fork", ReplayPlan(mode="rerun", source_run_id=RUN_ID)),
        "check": ("fork", ReplayPlan(mode="verify", source_run_id=RUN_ID)),
    }
    for name, (source, plan) in plans.items():
        of = plan.model_copy(update={"source_run_id": runs[source].run_id})
        runs[name] = await played(gateway, verifies if name == "check" else use_tool, replay=of)
    for run in runs.values():
        await is_recorded(gateway, run)
    return runs


def names(node: dict[str, Any], runs: dict[str, RunKey]) -> Any:
    """The tree by the names of its runs."""
    [name] = [name for name, run in runs.items() if run.run_id == node["run_id"]]
    return name, [names(each, runs) for each in node["replays"]]


async def test_the_lineage_of_a_run_is_the_tree_of_replays_that_it_is_in(
    gateway: Gateway, recorded: None
) -> None:
    runs = await family(gateway)

    async def lineage(name: str) -> dict[str, Any]:
        given = await gateway.http.get(f"/api/runs/{runs[name].run_id}/lineage")
        assert given.status_code == 200, given.text
        return dict(given.json())

    for name in ("root", "fork", "again"):
        assert names((await lineage(name))["root"], runs) == ("root", [("fork", [("again", [])])])
    tree = await lineage("check")
    assert names(tree["root"], runs) == ("root", [("fork", [("again", []), ("check", [])])])
    assert tree["runs"] == 4
    root, fork = tree["root"], tree["root"]["replays"][0]
    assert {name: root[name] for name in ("source_run_id", "mode", "arm")} == dict.fromkeys(
        ("source_run_id", "mode", "arm")
    )
    assert (fork["mode"], fork["fork_step"], fork["arm"], fork["sample"]) == ("fork", 2, "small", 3)
    assert fork["edits"][0]["value"] == "other"
    assert fork["status"] == "completed"
    assert (await gateway.http.delete(f"/api/runs/{runs['root'].run_id}")).status_code in (202, 204)
    assert names((await lineage("again"))["root"], runs) == ("fork", [("again", [])])
    assert set(tree["root"]) == set(ANSWERS["lineage"].value["root"])


async def test_a_large_lineage_is_cut_with_counts_and_has_the_run_that_was_asked_for(
    gateway: Gateway, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.replays.lineage.MOST_OF_ONE", 3)
    monkeypatch.setattr("services.gateway.replays.lineage.MOST_RUNS", 6)
    root = await played(gateway, answer)
    plan = ReplayPlan(mode="rerun", source_run_id=root.run_id)
    large = Edit(step=1, field="content", value="x" * 2000)
    samples = [await played(gateway, answer, replay=plan) for _ in range(5)]
    of_last = ReplayPlan(mode="fork", source_run_id=samples[4].run_id, fork_step=0, edits=(large,))
    below = [await played(gateway, answer, replay=of_last) for _ in range(4)]
    for run in (*samples, *below):
        await is_recorded(gateway, run)
    tree = (await gateway.http.get(f"/api/runs/{below[3].run_id}/lineage")).json()
    top = tree["root"]
    shown = [each["run_id"] for each in top["replays"]]
    assert shown == [samples[0].run_id, samples[1].run_id, samples[4].run_id]
    assert (tree["runs"], top["more"]) == (6, 2)
    last = top["replays"][2]
    assert [each["run_id"] for each in last["replays"]] == [below[0].run_id, below[3].run_id]
    assert last["more"] == 2
    assert last["replays"][0]["edits"][0]["value"] is None


async def test_the_lineage_of_a_run_that_is_not_recorded_is_the_run_alone(gateway: Gateway) -> None:
    run = await played(gateway, replay=PLAN)
    tree = (await gateway.http.get(f"/api/runs/{run.run_id}/lineage")).json()
    assert (tree["runs"], tree["root"]["run_id"]) == (1, run.run_id)
    assert tree["root"]["source_run_id"] == RUN_ID
