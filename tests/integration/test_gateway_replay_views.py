"""How replays are shown, listed and stopped."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import uuid_utils

from services.gateway.examples import ANSWERS, OTHER_ID, REPLAY, REPLAY_ID, RUN_ID
from services.gateway.replays.examples import queued
from services.gateway.replays.views import ReplayDetail
from shared.bus import WORK, jetstream
from shared.messages import ReplayCancelled
from shared.subjects import replay_subject
from tests.support.fake_runner import announce
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.replay_rows import taken_up
from tests.support.replaying import is_recorded, played, replay, same, told


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


async def test_a_replay_is_there_at_once_and_then_as_the_replayer_has_it(
    gateway: Gateway, recorded: None
) -> None:
    js, order = jetstream(gateway.nats), queued(RUN_ID).order
    await js.publish(replay_subject("default", REPLAY_ID), order.model_dump_json().encode(), stream=WORK)
    same("queued-replay", await gateway.http.get(f"/api/replays/{REPLAY_ID}"))
    assert (await gateway.http.get("/api/replays")).json()["items"] == []
    assert (await gateway.http.get(f"/api/replays/{REPLAY_ID}/runs")).json()["items"] == []
    await taken_up(gateway.database, REPLAY)
    same("replay", await gateway.http.get(f"/api/replays/{REPLAY_ID}"))
    same("replay-runs", await gateway.http.get(f"/api/replays/{REPLAY_ID}/runs"))
    same("run-diff", await gateway.http.get(f"/api/replays/{REPLAY_ID}/diffs/{OTHER_ID}"))
    listed = await gateway.http.get("/api/replays")
    cursor = ANSWERS["replay-list"].value["next_cursor"]
    assert listed.json() == ANSWERS["replay-list"].value | {"next_cursor": None}
    assert (await gateway.http.get("/api/replays", params={"cursor": cursor})).json()["items"] == []


def another(number: int, **fields: Any) -> ReplayDetail:
    """A replay like the example's with an id of its own."""
    replay_id = REPLAY_ID[:-1] + str(number)
    order = REPLAY.order.model_copy(update={"replay_id": replay_id})
    return REPLAY.model_copy(
        update={"replay_id": replay_id, "order": order, "items": (), "diff": None, **fields}
    )


async def test_replays_are_listed_newest_first_by_pages_and_filters(gateway: Gateway) -> None:
    for number in range(5):
        status = "running" if number % 2 else "completed"
        await taken_up(gateway.database, another(number, status=status, mode="fork" if number else "rerun"))

    async def listed(**query: str) -> list[int]:
        found: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {**query, "limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await gateway.http.get("/api/replays", params=params)).json()
            found += [int(item["replay_id"][-1]) for item in page["items"]]
            cursor = page["next_cursor"]
        return found

    assert await listed() == [4, 3, 2, 1, 0]
    assert await listed(status="running") == [3, 1]
    assert await listed(mode="rerun") == [0]
    assert await listed(run_id=RUN_ID) == [4, 3, 2, 1, 0]
    assert await listed(run_id=OTHER_ID) == []


async def test_the_runs_of_a_replay_come_by_pages(gateway: Gateway) -> None:
    [one] = REPLAY.items
    runs = [one.model_copy(update={"run_id": str(uuid_utils.uuid7()), "sample": n}) for n in range(60)]
    await taken_up(gateway.database, REPLAY.model_copy(update={"items": tuple(runs), "diff": None}))
    shown = (await gateway.http.get(f"/api/replays/{REPLAY_ID}")).json()
    assert [run["sample"] for run in shown["items"]] == list(range(50))
    rest = await gateway.http.get(f"/api/replays/{REPLAY_ID}/runs", params={"cursor": shown["next_cursor"]})
    assert [run["sample"] for run in rest.json()["items"]] == list(range(50, 60))
    assert rest.json()["next_cursor"] is None
    assert not rest.json()["items"][0]["has_diff"]


async def test_a_replay_is_told_to_stop(gateway: Gateway) -> None:
    going_on = {"status": "running", "items": (), "diff": None}
    await taken_up(gateway.database, REPLAY.model_copy(update=going_on))
    for _ in range(2):
        same("replay-cancelled", await gateway.http.post(f"/api/replays/{REPLAY_ID}/cancel"), status=202)
    [message] = await told(gateway, REPLAY_ID)
    assert isinstance(message, ReplayCancelled)
    run = await played(gateway)
    replay_id = (await replay(gateway, run_id=run.run_id, mode="verify")).json()["replay_id"]
    assert (await gateway.http.post(f"/api/replays/{replay_id}/cancel")).json()["status"] == "queued"
    assert [each.kind for each in await told(gateway, replay_id)] == ["replay-requested", "replay-cancelled"]


async def test_another_project_sees_nothing_of_it(gateway: Gateway, recorded: None) -> None:
    run = await played(gateway)
    await is_recorded(gateway, run)
    await taken_up(gateway.database, REPLAY)
    waiting = (await replay(gateway, run_id=run.run_id, mode="verify")).json()["replay_id"]
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    get, post = gateway.http.get, gateway.http.post
    for path in (
        f"/api/replays/{REPLAY_ID}",
        f"/api/replays/{waiting}",
        f"/api/replays/{REPLAY_ID}/runs",
        f"/api/replays/{REPLAY_ID}/diffs/{OTHER_ID}",
        f"/api/runs/{run.run_id}/lineage",
    ):
        assert (await get(path)).status_code == 200, path
        assert (await get(path, headers=stranger)).status_code == 404, path
    assert (await get("/api/replays", headers=stranger)).json()["items"] == []
    for replay_id in (REPLAY_ID, waiting):
        assert (await post(f"/api/replays/{replay_id}/cancel", headers=stranger)).status_code == 404
    asked = {"run_id": run.run_id}
    assert (await post("/api/replays", json=asked, headers=stranger)).status_code == 404
    assert (await post("/replay", json=asked, headers=stranger)).status_code == 404


async def test_what_a_replay_stored_of_a_deleted_run_is_not_shown(gateway: Gateway, recorded: None) -> None:
    run = await played(gateway)
    await is_recorded(gateway, run)
    sides = REPLAY.diff
    assert sides is not None
    left = sides.left.model_copy(update={"run_id": run.run_id})
    of_run = REPLAY.model_copy(update={"diff": sides.model_copy(update={"left": left})})
    await taken_up(gateway.database, of_run)
    path = f"/api/replays/{REPLAY_ID}/diffs/{OTHER_ID}"
    assert (await gateway.http.get(path)).status_code == 200
    assert (await gateway.http.delete(f"/api/runs/{run.run_id}")).status_code in (202, 204)
    assert (await gateway.http.get(path)).status_code == 404
    shown = (await gateway.http.get(f"/api/replays/{REPLAY_ID}")).json()
    assert (shown["diff"], shown["items"][0]["has_diff"]) == (None, False)
