"""Deleting runs: gone for every reader at once, erased in the end, whatever stops in between."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from nats.aio.msg import Msg

from services.gateway.log_reader import LogReader
from shared.bus import RUNS, client_of, jetstream, make_broker
from shared.database import Database
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import ReplayPlan, RunDeleted
from shared.stored import sequence_of
from shared.subjects import RunKey
from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.steps import make, new_key, requested
from tests.support.waiting import eventually

PLACES = ("", "/steps", "/events", f"/bodies/{'0' * 64}")


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running, running_fake_runner(running.nats):
        yield running


async def finished(gateway: Gateway) -> str:
    """The id of a run that has finished."""
    answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "hi"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


async def is_listed(gateway: Gateway, run_id: str) -> bool:
    return run_id in [item["run_id"] for item in (await gateway.http.get("/api/runs")).json()["items"]]


async def is_gone(gateway: Gateway, run_id: str) -> bool:
    """For every reader."""
    answers = [await gateway.http.get(f"/api/runs/{run_id}{place}") for place in PLACES]
    answers.append(await gateway.http.get(f"/runs/{run_id}"))
    return {answer.status_code for answer in answers} == {404} and not await is_listed(gateway, run_id)


async def kinds_in_log(gateway: Gateway, run_id: str) -> list[str]:
    read = await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))
    return [step.kind for step in read.steps]


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_a_running_run_cannot_be_deleted(gateway: Gateway) -> None:
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hold it"})).json()["run_id"]
    answer = await gateway.http.delete(f"/api/runs/{run_id}")
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (409, "run-active")
    assert "cancel it first" in answer.json()["detail"]
    assert (await gateway.http.get(f"/api/runs/{run_id}")).status_code == 200


async def test_a_deleted_run_is_gone_everywhere_and_its_cost_stays(gateway: Gateway) -> None:
    run_id = await finished(gateway)
    async with projecting(gateway.nats, gateway.database):
        assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 204
    assert await is_gone(gateway, run_id)
    assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 404
    assert (await gateway.http.post(f"/api/runs/{run_id}/cancel")).status_code == 404
    assert await kinds_in_log(gateway, run_id) == ["run-deleted"]
    assert await count(gateway.database, "charges") == 1
    assert await count(gateway.database, "steps") == 0
    assert await count(gateway.database, "deletions") == 0


async def test_with_a_run_go_the_runs_that_answered_its_calls(gateway: Gateway) -> None:
    """Whoever deletes a run does not know theirs, and they hold what it told them."""
    top, other = await finished(gateway), await finished(gateway)
    log, above, tree = RunLog(gateway.nats, Scrubber()), top, list[str]()

    async def no_deletion_is_left() -> bool:
        return await count(gateway.database, "deletions") == 0

    for _ in range(2):
        child = new_key()
        request = requested(child, prompt="secret", parent_run_id=above, root_run_id=top)
        await log.request(child, log.seal([request]))
        tree.append(above := child.run_id)
    async with projecting(gateway.nats, gateway.database):
        for run_id in tree:
            await eventually(lambda: is_listed(gateway, run_id))  # noqa: B023 - awaited here
        assert (await gateway.http.delete(f"/api/runs/{top}")).status_code == 204
        for run_id in tree:
            await eventually(lambda: is_gone(gateway, run_id))  # noqa: B023 - awaited here
        await eventually(no_deletion_is_left)
    assert await kinds_in_log(gateway, above) == ["run-deleted"]
    assert await is_listed(gateway, other)


async def test_with_a_run_go_its_verifications_but_no_other_replays(gateway: Gateway) -> None:
    """Nobody sees them in a list, and they hold its request."""
    source = await finished(gateway)
    keys = {mode: new_key() for mode in ("verify", "rerun")}
    log = RunLog(gateway.nats, Scrubber())
    for mode, key in keys.items():
        plan = ReplayPlan.model_validate({"mode": mode, "source_run_id": source})
        await log.request(key, log.seal([requested(key, prompt="secret", replay=plan)]))
    verification, rerun = (key.run_id for key in keys.values())
    async with projecting(gateway.nats, gateway.database):
        await eventually(lambda: is_listed(gateway, rerun))
        assert (await gateway.http.delete(f"/api/runs/{source}")).status_code == 204
        await eventually(lambda: is_gone(gateway, verification))
    assert await is_listed(gateway, rerun)


async def test_a_run_is_gone_at_once_and_erased_when_recorder_and_cost_have_read_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.erasure.PATIENCE_S", 0.1)
    run_id = await finished(gateway)
    async with projecting(gateway.nats, gateway.database):
        await eventually(lambda: is_listed(gateway, run_id))
    assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 202
    assert await is_gone(gateway, run_id)
    assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 404
    assert len(await kinds_in_log(gateway, run_id)) > 1

    async def is_erased() -> bool:
        return await kinds_in_log(gateway, run_id) == ["run-deleted"]

    async with projecting(gateway.nats, gateway.database):
        await eventually(is_erased)
    assert await count(gateway.database, "charges") == 1


async def test_what_a_gateway_left_unerased_when_it_stopped_the_next_one_erases(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.erasure.PATIENCE_S", 0.1)
    monkeypatch.setattr("services.gateway.erasure.LEASE", timedelta(seconds=1))
    async with running_gateway(nats_url, database_url) as first, running_fake_runner(first.nats):
        run_id = await finished(first)
        assert (await first.http.delete(f"/api/runs/{run_id}")).status_code == 202
    async with running_gateway(nats_url, database_url) as second:
        assert await is_gone(second, run_id)
        async with projecting(second.nats, second.database):

            async def is_done() -> bool:
                return await count(second.database, "deletions") == 0

            await eventually(is_done)
        assert await kinds_in_log(second, run_id) == ["run-deleted"]


async def test_a_deleted_run_stays_gone_while_the_broker_is_away(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.erasure.PATIENCE_S", 0.1)
    async with (
        proxied(nats_url) as proxy,
        make_broker("world", nats_url) as world,
        running_gateway(proxy.url, database_url) as gateway,
    ):
        async with running_fake_runner(client_of(world)):
            run_id, other = await finished(gateway), await finished(gateway)
        async with projecting(client_of(world), gateway.database):
            await eventually(lambda: is_listed(gateway, run_id))
            await eventually(lambda: is_listed(gateway, other))
        assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 202
        port, proxy.target = proxy.target, 1  # nobody listens there
        proxy.cut()
        await eventually(lambda: not gateway.nats.is_connected)
        assert await is_gone(gateway, run_id)
        assert (await gateway.http.get(f"/api/runs/{other}")).status_code == 200
        proxy.target = port
        await eventually(lambda: gateway.nats.is_connected)


async def test_many_deletions_at_once_are_all_erased(gateway: Gateway) -> None:
    run_ids = [await finished(gateway) for _ in range(40)]
    async with projecting(gateway.nats, gateway.database):
        for run_id in run_ids:
            assert (await gateway.http.delete(f"/api/runs/{run_id}")).status_code == 204
    for run_id in run_ids:
        assert await kinds_in_log(gateway, run_id) == ["run-deleted"]


@pytest.mark.parametrize("is_half_done", [False, True])
async def test_a_run_that_is_being_erased_while_it_is_read_is_gone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, is_half_done: bool
) -> None:
    run_id = await finished(gateway)
    log, key = RunLog(gateway.nats, Scrubber()), RunKey("default", run_id)
    read = await log.read(key)
    reading = LogReader.messages

    async def disturbed(self: LogReader, run: RunKey) -> AsyncIterator[tuple[Msg, ...]]:
        """Somebody deletes and erases the run after the reader has found it whole."""
        deleted = make(RunDeleted, key, len(read.steps), who="another")
        await log.append(key, log.seal([deleted]), read.sequence)
        if is_half_done:
            first = await anext(reading(self, key))
            await jetstream(gateway.nats).delete_msg(RUNS, sequence_of(first[0]))
        else:
            await log.purge(key)
        async for page in reading(self, run):
            yield page

    monkeypatch.setattr(LogReader, "messages", disturbed)
    assert (await gateway.http.get(f"/api/runs/{run_id}")).status_code == 404
