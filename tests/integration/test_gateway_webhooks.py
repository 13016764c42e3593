"""Webhooks: made and changed, told of what happens to runs, once in the log and until it is heard."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway.examples import ANSWERS
from services.gateway.webhooks import deliveries as sending
from services.gateway.webhooks import examples
from services.gateway.webhooks.store import Room, add, claim
from shared.database import Database
from shared.steps import Failure, RunFinished, RunRequested, RunWaiting, now
from shared.subjects import RunKey
from tests.integration.test_gateway_examples import refused
from tests.support.fake_runner import Batches, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.receiver import Received, Receiver, answer, running_receiver
from tests.support.steps import claimed, make, new_key
from tests.support.waiting import eventually


def wait_then_cancel(key: RunKey, _: RunRequested) -> Batches:
    """Waits for a person, and ends as cancelled."""
    return [
        [claimed(key, 1)],
        [make(RunWaiting, key, 2, reason="approval", call_id="call00001", at=now())],
        [make(RunFinished, key, 3, status="cancelled", at=now())],
    ]


def wait_for_others_and_money(key: RunKey, _: RunRequested) -> Batches:
    """Waits for a run that it asked for, and then for a higher budget."""
    return [
        [claimed(key, 1), make(RunWaiting, key, 2, reason="child-run", call_id="call00001", at=now())],
        [claimed(key, 3, attempt=2), make(RunWaiting, key, 4, reason="budget", at=now())],
    ]


def fail(key: RunKey, _: RunRequested) -> Batches:
    error = Failure(type="model-error", message="the provider said no", retryable=True)
    return [[claimed(key, 1)], [make(RunFinished, key, 2, status="failed", error=error, at=now())]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses of milliseconds instead of seconds."""
    monkeypatch.setattr(sending, "EVERY_S", 0.02)
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
async def gateway(nats_url: str, database_url: str, receiver: Receiver) -> AsyncIterator[Gateway]:
    allowed = {"GATEWAY_WEBHOOK_ALLOW_PRIVATE": f"127.0.0.1:{receiver.port}"}
    async with (
        running_gateway(nats_url, database_url, allowed) as running,
        running_fake_runner(running.nats) as runner,
        projecting(running.nats, running.database),
    ):
        runner.scripts |= {"wait": wait_then_cancel, "spend": wait_for_others_and_money, "fail": fail}
        yield running


async def made(gateway: Gateway, receiver: Receiver, **more: Any) -> Any:
    created = await gateway.http.post("/api/webhooks", json={"url": receiver.url, **more})
    assert created.status_code == 201, created.text
    return created.json()


async def run(gateway: Gateway, prompt: str = "hi") -> str:
    started = await gateway.http.post("/api/runs?wait=20", json={"prompt": prompt})
    assert started.status_code in (200, 202), started.text
    return str(started.json()["run_id"])


async def log_of(gateway: Gateway, hook: Any, query: str = "") -> list[Any]:
    listed = await gateway.http.get(f"/api/webhooks/{hook['id']}/deliveries{query}")
    assert listed.status_code == 200, listed.text
    items: list[Any] = listed.json()["items"]
    return items


async def settled(gateway: Gateway, hook: Any, count: int = 1, status: str = "delivered") -> list[Any]:
    """The log once it has that many deliveries of the status."""

    async def enough() -> list[Any] | None:
        found = await log_of(gateway, hook, f"?status={status}")
        return found if len(found) == count else None

    return await eventually(enough)


def verify(received: Received, secret: str) -> Any:
    """The payload of a message that is what it says it is."""
    headers = received.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    payload = json.loads(received.body)
    assert payload["id"] == headers["webhook-id"]
    return payload


async def test_a_finished_run_is_told_in_a_thin_and_signed_message(
    gateway: Gateway, receiver: Receiver
) -> None:
    hook = await made(gateway, receiver)
    run_id = await run(gateway)
    (delivery,) = await settled(gateway, hook)
    (message,) = receiver.received
    payload = verify(message, hook["secret"])
    assert payload.keys() == {"id", "type", "project", "time", "run_id"}
    assert (payload["type"], payload["project"], payload["run_id"]) == ("run.finished", "default", run_id)
    assert (delivery["attempts"], delivery["response_status"], delivery["error"]) == (1, 204, None)
    assert delivery["duration_ms"] >= 0
    assert (delivery["event_id"], delivery["at"]) == (payload["id"], payload["time"])


async def test_each_kind_of_event_is_told_to_those_who_asked_for_it(
    gateway: Gateway, receiver: Receiver
) -> None:
    every = await made(gateway, receiver)
    some = await made(gateway, receiver, events=["run.failed"])
    for prompt in ("hi", "fail", "wait"):
        await run(gateway, prompt)
    started = await gateway.http.post("/api/runs", json={"prompt": "spend"})
    assert started.status_code == 202
    told = await settled(gateway, every, 5)
    assert sorted(each["type"] for each in told) == [
        "budget.reached",
        "run.cancelled",
        "run.failed",
        "run.finished",
        "run.waiting",
    ]
    assert [each["type"] for each in await settled(gateway, some)] == ["run.failed"]


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id_until_it_answers(
    gateway: Gateway, receiver: Receiver
) -> None:
    receiver.answer = lambda _: answer(500 if len(receiver.received) < 3 else 200)
    hook = await made(gateway, receiver)
    await run(gateway)
    (delivery,) = await settled(gateway, hook)
    assert delivery["attempts"] == 3
    assert len({message.headers["webhook-id"] for message in receiver.received}) == 1
    assert len({message.body for message in receiver.received}) == 1


async def test_what_is_never_heard_is_given_up_shown_and_sent_again_when_asked(
    gateway: Gateway, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_ATTEMPTS", 3)
    receiver.answer = lambda _: answer(503)
    hook = await made(gateway, receiver)
    await run(gateway)
    (lost,) = await settled(gateway, hook, status="failed")
    assert (lost["attempts"], lost["response_status"], lost["error"]) == (3, 503, "answered 503")
    assert lost["next_attempt_at"] is None
    receiver.answer = lambda _: answer(200)
    again = await gateway.http.post(f"/api/webhooks/{hook['id']}/deliveries/{lost['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    (heard,) = await settled(gateway, hook)
    assert (heard["id"], heard["attempts"]) == (lost["id"], 1)
    assert len({message.headers["webhook-id"] for message in receiver.received}) == 1
    assert len(await log_of(gateway, hook)) == 1


async def test_a_redelivery_during_an_attempt_is_an_attempt_of_its_own(
    gateway: Gateway, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def slow(_: Received) -> bytes:
        await released.wait()
        return answer(500 if len(receiver.received) == 1 else 200)

    receiver.answer = slow
    hook = await made(gateway, receiver)
    await run(gateway)
    await eventually(lambda: receiver.received)
    (underway,) = await log_of(gateway, hook)
    await gateway.http.post(f"/api/webhooks/{hook['id']}/deliveries/{underway['id']}/redeliver")
    await eventually(lambda: len(receiver.received) == 2)
    released.set()
    (heard,) = await settled(gateway, hook)
    assert (heard["attempts"], heard["error"]) == (1, None)


async def test_several_gateways_have_one_row_for_an_event_and_send_it_once(
    gateway: Gateway, receiver: Receiver, nats_url: str, database_url: str
) -> None:
    allowed = {"GATEWAY_WEBHOOK_ALLOW_PRIVATE": f"127.0.0.1:{receiver.port}"}
    hook = await made(gateway, receiver)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(running_gateway(nats_url, database_url, allowed))
        run_ids = await asyncio.gather(*(run(gateway) for _ in range(40)))
        told = await settled(gateway, hook, 40)
    assert sorted(each["run_id"] for each in told) == sorted(run_ids)
    assert len(receiver.received) == 40
    assert {each["attempts"] for each in told} == {1}


async def test_a_step_that_is_recorded_again_is_no_second_event(gateway: Gateway, receiver: Receiver) -> None:
    """As when the recorder's tables are dropped and rebuilt from the log."""
    hook = await made(gateway, receiver)
    await run(gateway)
    await settled(gateway, hook)
    async with gateway.database.transaction() as connection:
        await connection.execute("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM steps")
        await connection.execute("DELETE FROM steps")
        await connection.execute("INSERT INTO steps SELECT * FROM kept")
    assert len(await log_of(gateway, hook)) == 1


async def test_what_a_gateway_had_in_hand_when_it_stopped_is_sent_by_the_next(
    gateway: Gateway, receiver: Receiver
) -> None:
    hook = await made(gateway, receiver)
    await run(gateway)
    await settled(gateway, hook)
    async with gateway.database.transaction() as connection:  # as if the answer had not been noted
        await connection.execute("UPDATE webhook_deliveries SET status = 'pending', due_at = now()")
    (delivery,) = await settled(gateway, hook)
    assert delivery["attempts"] == 2
    assert receiver.received[0].headers["webhook-id"] == receiver.received[1].headers["webhook-id"]


async def test_a_slow_receiver_takes_few_places_and_does_not_slow_runs(
    gateway: Gateway, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def slow(_: Received) -> bytes:
        await released.wait()
        return answer(200)

    receiver.answer = slow
    hook = await made(gateway, receiver)
    await asyncio.gather(*(run(gateway) for _ in range(10)))
    await settled(gateway, hook, 10, status="pending")
    await eventually(lambda: receiver.at_once == sending.MOST_OF_A_HOST)
    released.set()
    await settled(gateway, hook, 10)
    assert receiver.most_at_once == sending.MOST_OF_A_HOST


async def test_a_project_with_many_hosts_that_hang_takes_no_place_from_another(database: Database) -> None:
    hosts = [("busy", f"host-{number}.example.com") for number in range(20)] + [("other", "example.com")]
    room = Room(sending.MOST_AT_ONCE, sending.MOST_OF_A_HOST, sending.MOST_OF_A_PROJECT)
    async with database.transaction() as connection:
        for project, host in hosts:
            webhook_id = UUID(new_key().run_id)
            values = (webhook_id, f"https://{host}", host, ["run.finished"], True, "")
            assert await add(connection, project, values, 100)
            for number in range(3):
                await connection.execute(
                    "INSERT INTO webhook_deliveries (id, webhook_id, project, event_id, type, at, due_at) "
                    "VALUES (uuidv7(), $1, $2, $3, 'run.finished', now(), now() - interval '1 hour' * $4)",
                    *(webhook_id, project, f"evt_{number}", 1 if project == "other" else 2),
                )
        scarce = await claim(connection, replace(room, places=2), sending.LEASE, [])
        assert Counter(each.event.project for each in scarce) == {"busy": 1, "other": 1}
        more = await claim(connection, room, sending.LEASE, scarce)
        assert Counter(each.event.project for each in more) == {
            "busy": sending.MOST_OF_A_PROJECT - 1,
            "other": 2,
        }
        assert await claim(connection, room, sending.LEASE, [*scarce, *more]) == []


async def test_a_webhook_that_is_off_is_told_nothing_and_one_of_another_project_neither(
    gateway: Gateway, receiver: Receiver
) -> None:
    on = await made(gateway, receiver)
    off = await made(gateway, receiver, active=False)
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    theirs = await gateway.http.post("/api/webhooks", json={"url": receiver.url}, headers=stranger)
    await run(gateway)
    await settled(gateway, on)
    assert await log_of(gateway, off) == []
    for path in ("", "/deliveries"):
        there = f"/api/webhooks/{theirs.json()['id']}{path}"
        assert (await gateway.http.get(there, headers=stranger)).status_code == 200
        assert (await gateway.http.get(there)).status_code == 404
    assert (await gateway.http.delete(f"/api/webhooks/{on['id']}", headers=stranger)).status_code == 404
    assert [each["id"] for each in (await gateway.http.get("/api/webhooks")).json()["items"]] == [
        off["id"],
        on["id"],
    ]


async def test_a_deleted_webhook_leaves_nothing(gateway: Gateway, receiver: Receiver) -> None:
    hook = await made(gateway, receiver)
    await run(gateway)
    await settled(gateway, hook)
    assert (await gateway.http.delete(f"/api/webhooks/{hook['id']}")).status_code == 204
    assert (await gateway.http.delete(f"/api/webhooks/{hook['id']}")).status_code == 404
    async with gateway.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_the_secret_is_told_once_and_stored_nowhere(gateway: Gateway, receiver: Receiver) -> None:
    hook = await made(gateway, receiver)
    shown = await gateway.http.get(f"/api/webhooks/{hook['id']}")
    listed = await gateway.http.get("/api/webhooks")
    changed = await gateway.http.patch(f"/api/webhooks/{hook['id']}", json={"description": "mine"})
    for answered in (shown, listed, changed):
        assert "secret" not in answered.text
        assert hook["secret"] not in answered.text
    async with gateway.database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM webhooks")
    assert hook["secret"].removeprefix("whsec_") not in str(tuple(row or ()))


async def test_the_same_request_with_a_key_makes_one_webhook(gateway: Gateway, receiver: Receiver) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = [
        await gateway.http.post("/api/webhooks", json={"url": receiver.url}, headers=key) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    other = await gateway.http.post("/api/webhooks", json={"url": f"{receiver.url}/other"}, headers=key)
    refused("key-reused-elsewhere", other)
    assert (await gateway.http.post("/api/runs", json={"prompt": "hi"}, headers=key)).status_code == 202


async def test_a_project_has_a_bounded_number_of_webhooks(gateway: Gateway, receiver: Receiver) -> None:
    for _ in range(20):
        await made(gateway, receiver)
    more = await gateway.http.post("/api/webhooks", json={"url": receiver.url})
    assert (more.status_code, more.json()["errors"][0]["field"]) == (422, "url")
    assert "20 webhooks" in more.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://127.0.0.1:1/"}, "url"),
        ({"url": "http://localhost/"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"url": "https://example.com/", "events": []}, "events"),
        ({"url": "https://example.com/", "events": ["run.paused"]}, "events.0"),
        ({"url": "https://example.com/", "events": ["run.failed", "run.failed"]}, "events"),
        ({"url": "https://example.com/", "description": "\x00"}, "description"),
        ({}, "url"),
    ],
)
async def test_what_is_wrong_with_a_webhook_is_named(
    gateway: Gateway, body: dict[str, Any], field: str
) -> None:
    answered = await gateway.http.post("/api/webhooks", json=body)
    assert (answered.status_code, answered.json()["errors"][0]["field"]) == (422, field)


async def test_runs_end_as_ever_while_events_cannot_be_sent(
    nats_url: str, database_url: str, database: Database, receiver: Receiver
) -> None:
    allowed = {"GATEWAY_WEBHOOK_ALLOW_PRIVATE": f"127.0.0.1:{receiver.port}"}
    name = database_url.rpartition("/")[2]
    async with proxied(database_url) as proxy:
        away = f"{database_url.rpartition(':')[0]}:{proxy.port}/{name}"
        async with (
            running_gateway(nats_url, away, allowed) as gateway,
            running_fake_runner(gateway.nats),
            projecting(gateway.nats, database),
        ):
            hook = await made(gateway, receiver)
            there, proxy.target = proxy.target, 1
            proxy.cut()
            await run(gateway)
            proxy.target = there
            await settled(gateway, hook)
    assert len(receiver.received) == 1


OWN = {"id", "webhook_id", "event_id", "run_id", "secret", "url", "duration_ms"}
TIMES = {"at", "created_at", "tried_at", "next_attempt_at"}


def shape(value: Any) -> Any:
    """The value with the type in place of what is of this webhook or this moment."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: type(item).__name__ if name in OWN | TIMES else shape(item) for name, item in value.items()}


def alike(name: str, answered: httpx.Response, status: int = 200) -> Any:
    """The answer, which must be that of the example."""
    assert answered.status_code == status, answered.text
    assert shape(answered.json()) == shape(ANSWERS[name].value), name
    return answered.json()


async def test_webhooks_look_as_in_the_examples(
    gateway: Gateway, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 60.0)
    http = gateway.http
    hook = alike("new-webhook", await http.post("/api/webhooks", json=examples.GIVEN), 201)
    there = f"/api/webhooks/{hook['id']}"
    alike("webhook", await http.get(there))
    alike("webhook-list", await http.get("/api/webhooks"))
    assert (await http.patch(there, json={"url": receiver.url})).status_code == 200
    receiver.answer = lambda _: answer(500 if len(receiver.received) == 1 else 204)
    await run(gateway, "fail")
    (failing,) = await eventually(lambda: tried(gateway, hook))
    delivery = f"{there}/deliveries/{failing['id']}"
    alike("failing-delivery", await http.get(delivery))
    assert (await http.post(f"{delivery}/redeliver")).status_code == 202
    await settled(gateway, hook)
    alike("delivery", await http.get(delivery))
    alike("delivery-list", await http.get(f"{there}/deliveries"))
    receiver.answer = never
    again = await http.post(f"{delivery}/redeliver")
    assert again.json()["response_status"] == 204
    alike("delivery-again", again, 202)
    alike("test-delivery", await http.post(f"{there}/test"), 202)
    assert (await http.post("/api/webhooks", json=examples.SHORTEST)).status_code == 201
    assert (await http.patch(there, json=examples.CHANGE)).json()["active"] is False


async def tried(gateway: Gateway, hook: Any) -> list[Any] | None:
    return [each for each in await log_of(gateway, hook) if each["tried_at"]]


async def never(_: Received) -> bytes:
    await asyncio.Event().wait()
    return b""


async def test_refusals_are_as_in_the_examples(gateway: Gateway, receiver: Receiver) -> None:
    http = gateway.http
    refused("no-such-webhook", await http.get(f"/api/webhooks/{examples.WEBHOOK_ID}"))
    assert (await http.get("/api/webhooks/nonsense")).status_code == 404
    off = await made(gateway, receiver, active=False)
    there = f"/api/webhooks/{off['id']}"
    refused("no-such-delivery", await http.get(f"{there}/deliveries/{examples.DELIVERY_ID}"))
    refused("webhook-off", await http.post(f"{there}/test"))
    refused("private-url", await http.patch(there, json={"url": "http://127.0.0.1/"}))
    assert (await http.get(there)).json()["url"] == receiver.url


async def test_a_test_event_is_signed_and_logged_and_about_no_run(
    gateway: Gateway, receiver: Receiver
) -> None:
    hook = await made(gateway, receiver)
    await gateway.http.post(f"/api/webhooks/{hook['id']}/test")
    await settled(gateway, hook)
    payload = verify(receiver.received[0], hook["secret"])
    assert (payload["type"], payload["run_id"]) == ("webhook.test", None)


async def test_the_log_is_read_page_by_page(gateway: Gateway, receiver: Receiver) -> None:
    hook = await made(gateway, receiver)
    for _ in range(5):
        await gateway.http.post(f"/api/webhooks/{hook['id']}/test")
    await settled(gateway, hook, 5)
    seen: list[str] = []
    query = "?limit=2"
    while query:
        page = (await gateway.http.get(f"/api/webhooks/{hook['id']}/deliveries{query}")).json()
        seen += [each["id"] for each in page["items"]]
        query = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
