"""Schedules: runs by the clock, one for each time, whoever stops when, and what is wrong named.

No test waits for a minute to pass: times are made due by moving a schedule's next time into the past.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.gateway import examples
from services.gateway.examples import ANSWERS
from services.gateway.schedules import scheduler
from shared.bus import RUNS, jetstream
from shared.steps import now
from tests.integration.test_gateway_examples import refused
from tests.support.fake_runner import announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually

HOURLY = {"name": "hourly", "cron": "0 * * * *", "input": {"prompt": "tick"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "EVERY_S", 0.02)


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


async def made(gateway: Gateway, **changes: Any) -> Any:
    created = await gateway.http.post("/api/schedules", json={**HOURLY, **changes})
    assert created.status_code == 201, created.text
    return created.json()


async def set_back(gateway: Gateway, schedule: Any, since: datetime) -> None:
    """As if no gateway had been up since then."""
    async with gateway.database.transaction() as connection:
        await connection.execute(
            "UPDATE schedules SET next_at = $2 WHERE id = $1::uuid", schedule["id"], since
        )


async def make_due(gateway: Gateway, schedule: Any) -> None:
    """Due just now, in the middle of nowhere in its hour."""
    async with gateway.database.transaction() as connection:
        await connection.execute(
            "UPDATE schedules SET cron = '* * * * *', next_at = date_trunc('minute', now()) "
            "WHERE id = $1::uuid",
            schedule["id"],
        )


async def ticks(gateway: Gateway, schedule: Any) -> list[Any]:
    listed = await gateway.http.get(f"/api/schedules/{schedule['id']}/ticks?limit=200")
    assert listed.status_code == 200, listed.text
    items: list[Any] = listed.json()["items"]
    return items


async def started(gateway: Gateway, schedule: Any, at_least: int = 1) -> list[Any]:
    """The ticks once so many of them have their run."""

    async def enough() -> list[Any] | None:
        found = await ticks(gateway, schedule)
        return found if sum(each["status"] == "started" for each in found) >= at_least else None

    return await eventually(enough)


async def jobs(gateway: Gateway) -> int:
    """How many runs the broker has."""
    info = await jetstream(gateway.nats).stream_info(RUNS, subjects_filter="run.>")
    return len(
        [subject for subject in info.state.subjects or {} if ".job." in subject or ".batch." in subject]
    )


async def test_a_schedule_that_is_due_starts_its_run_and_shows_when_and_which(gateway: Gateway) -> None:
    schedule = await made(gateway, input={"prompt": "tick", "group": "nightly", "metadata": {"a": 1}})
    await make_due(gateway, schedule)
    tick, *_ = await started(gateway, schedule)
    run = (await gateway.http.get(f"/api/runs/{tick['run_id']}")).json()
    assert (run["prompt"], run["group"], run["metadata"]) == ("tick", "nightly", {"a": 1})
    shown = (await gateway.http.get(f"/api/schedules/{schedule['id']}")).json()
    assert (shown["last_run_id"], shown["last_at"]) == (tick["run_id"], tick["due_at"])
    assert datetime.fromisoformat(shown["next_at"]) > datetime.fromisoformat(tick["due_at"])


async def test_several_gateways_start_one_run_for_each_time(
    gateway: Gateway, nats_url: str, database_url: str
) -> None:
    schedules = [await made(gateway, cron="* * * * *", missed="all") for _ in range(5)]
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(running_gateway(nats_url, database_url))
        since = now() - timedelta(minutes=8)
        await asyncio.gather(*(set_back(gateway, each, since) for each in schedules))
        for each in schedules:
            await started(gateway, each, 8)
            await gateway.http.post(f"/api/schedules/{each['id']}/pause")  # before the next minute begins
        for each in schedules:
            await _all_started(gateway, each)
    found = [tick for each in schedules for tick in await ticks(gateway, each)]
    run_ids = {tick["run_id"] for tick in found}
    assert len(run_ids) == len(found) == await jobs(gateway)


async def test_a_gateway_that_stops_between_the_time_and_its_run_loses_nothing(gateway: Gateway) -> None:
    schedule = await made(gateway)
    async with gateway.database.transaction() as connection:  # what the first half leaves behind
        await connection.execute(
            "INSERT INTO schedule_ticks (schedule_id, due_at, project, input, try_at) "
            "SELECT id, date_trunc('hour', now()), project, input, now() FROM schedules"
        )
    *_, tick = await started(gateway, schedule)
    assert tick["run_id"] is not None


async def test_a_gateway_that_stops_between_the_run_and_its_note_doubles_nothing(gateway: Gateway) -> None:
    schedule = await made(gateway)
    await make_due(gateway, schedule)
    first = (await started(gateway, schedule))[-1]
    await gateway.http.post(f"/api/schedules/{schedule['id']}/pause")
    await _all_started(gateway, schedule)
    before = await jobs(gateway)
    async with gateway.database.transaction() as connection:
        await connection.execute(
            "UPDATE schedule_ticks SET status = 'pending', run_id = NULL, try_at = now() "
            "WHERE due_at = (SELECT min(due_at) FROM schedule_ticks)"
        )
    again = await eventually(lambda: _again(gateway, schedule, first["due_at"]))
    assert (again["run_id"], again["tries"]) == (first["run_id"], 2)
    assert await jobs(gateway) == before


async def _again(gateway: Gateway, schedule: Any, due_at: str) -> Any:
    found = [each for each in await ticks(gateway, schedule) if each["due_at"] == due_at]
    return found[0] if found[0]["status"] == "started" else None


async def test_a_time_changed_after_it_was_due_still_starts_what_it_was_due_with(gateway: Gateway) -> None:
    """A new input must not look like another request under the time's key."""
    schedule = await made(gateway)
    await make_due(gateway, schedule)
    first = (await started(gateway, schedule))[-1]
    async with gateway.database.transaction() as connection:
        await connection.execute("""UPDATE schedules SET input = '{"prompt": "new"}', active = false""")
        await connection.execute("UPDATE schedule_ticks SET status = 'pending', try_at = now()")
    again = await eventually(lambda: _again(gateway, schedule, first["due_at"]))
    assert again["run_id"] == first["run_id"]


@pytest.mark.parametrize(("missed", "least", "most"), [("skip", 0, 1), ("latest", 1, 1), ("all", 10, 11)])
async def test_missed_times_are_run_by_the_policy(
    gateway: Gateway, missed: str, least: int, most: int
) -> None:
    schedule = await made(gateway, cron="*/2 * * * *", missed=missed)
    await set_back(gateway, schedule, now() - timedelta(minutes=20))
    await eventually(lambda: _is_moved_on(gateway, schedule))
    await _all_started(gateway, schedule)
    assert least <= len(await ticks(gateway, schedule)) <= most


async def _all_started(gateway: Gateway, schedule: Any) -> None:
    await eventually(lambda: _none_is_pending(gateway, schedule))


async def _none_is_pending(gateway: Gateway, schedule: Any) -> bool:
    return all(each["status"] == "started" for each in await ticks(gateway, schedule))


async def _is_moved_on(gateway: Gateway, schedule: Any) -> bool:
    shown = (await gateway.http.get(f"/api/schedules/{schedule['id']}")).json()
    return datetime.fromisoformat(shown["next_at"]) > datetime.now(UTC)


async def test_while_the_broker_is_away_times_wait_and_are_then_missed_ones(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LONGEST_PAUSE_S", 0.1)
    async with proxied(nats_url) as broker, running_gateway(broker.url, database_url) as gateway:
        await announce(gateway.nats)
        schedule = await made(gateway, cron="* * * * *")
        there, broker.target = broker.target, 1
        broker.cut()
        await set_back(gateway, schedule, now() - timedelta(minutes=5))
        pending = await eventually(lambda: _refused(gateway, schedule))
        assert len(pending) == 1
        assert "broker" in pending[0]["error"]
        await set_back(gateway, schedule, now() - timedelta(minutes=5))
        broker.target = there
        found = await started(gateway, schedule)
    assert len(found) <= 2


async def _refused(gateway: Gateway, schedule: Any) -> list[Any] | None:
    return [each for each in await ticks(gateway, schedule) if each["error"]]


async def test_a_time_whose_run_can_never_start_says_why(gateway: Gateway) -> None:
    schedule = await made(gateway)
    async with gateway.database.transaction() as connection:  # as when a tool is taken away
        await connection.execute("""UPDATE schedules SET input = '{"prompt": "x", "tools": ["shell"]}'""")
    await make_due(gateway, schedule)
    tick, *_ = await eventually(lambda: _refused(gateway, schedule))
    assert (tick["status"], tick["run_id"]) == ("failed", None)
    assert "unknown tool 'shell'" in tick["error"]


async def test_a_paused_schedule_starts_nothing_and_misses_nothing(gateway: Gateway) -> None:
    paused, witness = await made(gateway), await made(gateway)
    there = f"/api/schedules/{paused['id']}"
    answered = await gateway.http.post(f"{there}/pause")
    assert (answered.json()["active"], answered.json()["next_at"]) == (False, None)
    await make_due(gateway, paused)
    await make_due(gateway, witness)
    await started(gateway, witness)
    assert await ticks(gateway, paused) == []
    resumed = (await gateway.http.post(f"{there}/resume")).json()
    assert datetime.fromisoformat(resumed["next_at"]) > datetime.now(UTC)
    assert (await gateway.http.post(f"{there}/resume")).json() == resumed


async def test_a_run_is_started_now_besides_the_times(gateway: Gateway) -> None:
    schedule = await made(gateway, active=False)
    there = f"/api/schedules/{schedule['id']}"
    answered = await gateway.http.post(f"{there}/trigger", headers={"Idempotency-Key": "once"})
    again = await gateway.http.post(f"{there}/trigger", headers={"Idempotency-Key": "once"})
    assert (answered.status_code, again.status_code) == (202, 202)
    assert answered.json()["run_id"] == again.json()["run_id"]
    assert await jobs(gateway) == 1
    assert await ticks(gateway, schedule) == []


async def test_a_changed_schedule_is_due_by_its_new_line(gateway: Gateway) -> None:
    schedule = await made(gateway)
    there = f"/api/schedules/{schedule['id']}"
    asked = {"cron": "0 0 1 1 *", "timezone": "Asia/Tokyo"}
    changed = (await gateway.http.patch(there, json=asked)).json()
    assert (changed["input"], changed["name"]) == ({"prompt": "tick"}, "hourly")
    assert changed["next_at"].endswith("-12-31T15:00:00Z")
    wrong = await gateway.http.patch(there, json={"cron": "0 0 30 2 *"})
    assert wrong.json()["errors"][0]["field"] == "cron"
    assert (await gateway.http.get(there)).json() == changed


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"cron": "0 0 31 2 *"}, "cron", "never fires"),
        ({"cron": "* * * * * *"}, "cron", "once a minute is the most"),
        ({"cron": "every day"}, "cron", "the five are minute hour"),
        ({"timezone": "Mars/Olympus"}, "timezone", "IANA name"),
        ({"input": {"prompt": " "}}, "input.prompt", "white space"),
        ({"input": {"prompt": "x", "tools": ["shell"]}}, "input.tools.0", "unknown tool 'shell'"),
        ({"input": {"prompt": "x", "model": "none"}}, "input.model", "unknown model"),
        ({"input": {"prompt": "x", "agent": "none"}}, "input.agent", ""),
        ({"input": {"prompt": "x", "promt": "y"}}, "input.promt", "unknown field"),
        ({"missed": "some"}, "missed", ""),
        ({"name": ""}, "name", ""),
        ({"name": "\x00"}, "name", ""),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_named(
    gateway: Gateway, body: dict[str, Any], field: str, words: str
) -> None:
    answered = await gateway.http.post("/api/schedules", json={**HOURLY, **body})
    assert answered.status_code == 422, answered.text
    error = answered.json()["errors"][0]
    assert error["field"] == field
    assert words in error["message"]
    assert (await gateway.http.get("/api/schedules")).json()["items"] == []


async def test_secrets_in_a_schedules_input_are_not_stored(gateway: Gateway) -> None:
    key = gateway.key
    schedule = await made(gateway, input={"prompt": f"use {key}"})
    assert key not in str(schedule)
    async with gateway.database.connection() as connection:
        assert key not in await connection.fetchval("SELECT input::text FROM schedules")


async def test_a_schedule_of_another_project_is_not_there(gateway: Gateway) -> None:
    schedule = await made(gateway)
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    there = f"/api/schedules/{schedule['id']}"
    http = gateway.http
    for answered in (
        await http.get(there, headers=stranger),
        await http.get(f"{there}/ticks", headers=stranger),
        await http.patch(there, json={"name": "mine"}, headers=stranger),
        await http.post(f"{there}/pause", headers=stranger),
        await http.post(f"{there}/trigger", headers=stranger),
        await http.delete(there, headers=stranger),
    ):
        assert answered.status_code == 404
    assert (await http.get("/api/schedules", headers=stranger)).json() == {"items": []}
    assert (await http.get(there)).json()["name"] == "hourly"


async def test_the_same_request_with_a_key_makes_one_schedule(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = [await gateway.http.post("/api/schedules", json=HOURLY, headers=key) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replayed"] == "true"
    assert len((await gateway.http.get("/api/schedules")).json()["items"]) == 1


async def test_a_deleted_schedule_leaves_its_runs_alone(gateway: Gateway) -> None:
    schedule = await made(gateway)
    await make_due(gateway, schedule)
    tick, *_ = await started(gateway, schedule)
    there = f"/api/schedules/{schedule['id']}"
    assert (await gateway.http.delete(there)).status_code == 204
    assert (await gateway.http.delete(there)).status_code == 404
    assert (await gateway.http.get(f"/api/runs/{tick['run_id']}")).status_code == 200


async def test_the_times_are_read_page_by_page(gateway: Gateway) -> None:
    schedule = await made(gateway, cron="* * * * *", missed="all")
    await set_back(gateway, schedule, now() - timedelta(minutes=5))
    await started(gateway, schedule, 5)
    seen: list[str] = []
    query = "?limit=2"
    while query:
        page = (await gateway.http.get(f"/api/schedules/{schedule['id']}/ticks{query}")).json()
        seen += [each["due_at"] for each in page["items"]]
        query = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) >= 5


OF_THE_MOMENT = {"id", "created_at", "next_at", "last_at", "due_at", "run_id", "last_run_id"}


def shape(value: Any) -> Any:
    """The value with the type in place of what is of this schedule or this moment."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: type(item).__name__ if name in OF_THE_MOMENT else shape(item) for name, item in value.items()
    }


def alike(name: str, answered: httpx.Response, status: int = 200) -> Any:
    """The answer, which must be that of the example."""
    assert answered.status_code == status, answered.text
    assert shape(answered.json()) == shape(ANSWERS[name].value), name
    return answered.json()


async def test_schedules_look_as_in_the_examples(gateway: Gateway) -> None:
    http = gateway.http
    schedule = alike("schedule", await http.post("/api/schedules", json=examples.WEEKDAYS), 201)
    there = f"/api/schedules/{schedule['id']}"
    alike("schedule", await http.get(there))
    alike("schedule-list", await http.get("/api/schedules"))
    alike("paused-schedule", await http.post(f"{there}/pause"))
    alike("schedule", await http.post(f"{there}/resume"))
    await set_back(gateway, schedule, now() - timedelta(days=4))
    await started(gateway, schedule)
    alike("tick-list", await http.get(f"{there}/ticks"))
    for each in examples.SCHEDULE_INPUT.values():
        assert (await http.post("/api/schedules", json=each.value)).status_code == 201
    for each in examples.SCHEDULE_CHANGE.values():
        assert (await http.patch(there, json=each.value)).status_code == 200
    refused("cron-never-fires", await http.patch(there, json={"cron": "0 0 31 2 *"}))
    refused("no-such-schedule", await http.get(f"/api/schedules/{examples.SCHEDULE_ID}"))


async def test_a_run_of_a_schedule_ends_as_every_other(gateway: Gateway) -> None:
    async with running_fake_runner(gateway.nats), projecting(gateway.nats, gateway.database):
        schedule = await made(gateway)
        await make_due(gateway, schedule)
        tick, *_ = await started(gateway, schedule)

        async def is_completed() -> bool:
            run = (await gateway.http.get(f"/api/runs/{tick['run_id']}")).json()
            return bool(run["status"] == "completed")

        await eventually(is_completed)


async def test_a_scheduled_run_waits_for_its_turn_like_any_other(nats_url: str, database_url: str) -> None:
    async with running_gateway(nats_url, database_url, {"GATEWAY_QUEUED_RUNS": "1"}) as gateway:
        await announce(gateway.nats)
        for _ in range(40):  # more than the queue has room for
            assert (await gateway.http.post("/api/runs", json={"prompt": "hi"})).status_code == 202
        schedule = await made(gateway)
        await make_due(gateway, schedule)
        run_id = (await started(gateway, schedule))[-1]["run_id"]
        async with gateway.database.connection() as connection:
            waits = "SELECT released_at IS NULL FROM queued_runs WHERE run_id = $1::uuid"
            assert await connection.fetchval(waits, run_id)
