"""Chat: in one request, over a WebSocket, and in the shortest form of the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.gateway.credentials import mint
from services.gateway.idempotency import Idempotency
from services.gateway.key_ring import Principal
from services.gateway.problems import Problem
from services.gateway.store import KeyRow, add_key
from services.gateway.tickets import Tickets
from shared.steps import RunFinished, RunRequested
from shared.subjects import RunKey
from tests.support.fake_runner import Batches, FakeRunner, hold, running_fake_runner
from tests.support.gateway import PEPPER, Gateway, projecting, running_gateway
from tests.support.steps import make


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


def socket(gateway: Gateway, query: str = "", **headers: str) -> connect:
    """A connection to be opened; without headers it carries the gateway's key."""
    url = gateway.url.replace("http://", "ws://") + "/api/ws/chat" + query
    return connect(url, additional_headers=headers or {"X-API-Key": gateway.key}, proxy=None)


async def said(connection: ClientConnection, message: Any, *, count: int) -> list[dict[str, Any]]:
    """What comes back for one message."""
    await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
    async with asyncio.timeout(10):
        return [json.loads(await connection.recv()) for _ in range(count)]


async def test_a_message_is_answered_in_one_request(gateway: Gateway, runner: FakeRunner) -> None:
    answer = await gateway.http.post("/api/chat", json={"message": "tool please", "session_id": "s1"})
    assert answer.status_code == 200
    assert answer.json()["response"] == "The result is 15."
    run = (await gateway.http.get(f"/api/runs/{answer.json()['run_id']}")).json()
    assert (run["prompt"], run["session_id"]) == ("tool please", "s1")


async def test_a_long_answer_is_given_whole(gateway: Gateway, runner: FakeRunner) -> None:
    message = "word " * 20_000
    answer = await gateway.http.post("/api/chat", json={"message": message})
    assert answer.json()["response"] == f"echo: {message}"


async def test_a_run_that_fails_is_a_problem_with_its_id(gateway: Gateway, runner: FakeRunner) -> None:
    for path, body in (("/api/chat", {"message": "fail"}), ("/run", {"prompt": "fail"})):
        answer = await gateway.http.post(path, json=body)
        assert answer.status_code == 502
        assert answer.headers["content-type"] == "application/problem+json"
        assert "the provider said no" in answer.json()["detail"]
        run = await gateway.http.get(f"/api/runs/{answer.json()['run_id']}")
        assert run.json()["status"] == "failed"


async def test_a_cancelled_run_is_a_problem_too(gateway: Gateway, runner: FakeRunner) -> None:
    def cancelled(key: RunKey, request: RunRequested) -> Batches:
        return [*hold(key, request), [make(RunFinished, key, 2, status="cancelled")]]

    runner.scripts["cancelled"] = cancelled
    answer = await gateway.http.post("/api/chat", json={"message": "cancelled"})
    assert (answer.status_code, answer.json()["detail"]) == (502, "the run was cancelled")


async def test_the_shortest_form_tells_tokens_and_cost(gateway: Gateway, runner: FakeRunner) -> None:
    async with projecting(gateway.nats, gateway.database):
        answer = await gateway.http.post("/run", json={"prompt": "tool please", "user_id": "ada"})
        assert answer.status_code == 200
        run_id = answer.json()["run_id"]
        assert answer.json() == {
            "run_id": run_id,
            "response": "The result is 15.",
            "total_tokens": 30,
            "total_cost": 0.0001,
        }
        listed = (await gateway.http.get("/runs?limit=1")).json()
    assert [(run["run_id"], run["user_id"], run["total_cost"]) for run in listed] == [(run_id, "ada", 0.0001)]
    detail = (await gateway.http.get(f"/runs/{run_id}")).json()
    assert detail["summary"] == listed[0]
    assert [message["role"] for message in detail["messages"]] == ["system", "user", "assistant", "assistant"]
    assert detail["tool_calls"][0]["return_value"] == {"value": 15}
    async with gateway.database.connection() as connection:
        rows = await connection.fetch(
            "SELECT message_id::text FROM messages WHERE run_id = $1 ORDER BY seq", run_id
        )
    assert [message["message_id"] for message in detail["messages"]] == [row[0] for row in rows]


async def test_without_the_cost_service_the_answer_comes_without_its_cost(
    gateway: Gateway, runner: FakeRunner
) -> None:
    answer = await gateway.http.post("/run", json={"prompt": "hi"})
    assert (answer.json()["response"], answer.json()["total_cost"]) == ("echo: hi", None)


async def test_a_socket_shows_each_step_in_the_five_types(gateway: Gateway, runner: FakeRunner) -> None:
    async with socket(gateway) as connection:
        for _ in range(2):  # one message after the other on one socket
            assert await said(connection, {"message": "tool please"}, count=5) == [
                {"type": "user-request", "content": "tool please"},
                {"type": "agent-thought", "content": "Using tool: calculator"},
                {"type": "tool-call", "toolName": "calculator", "params": {"expression": "5+10"}},
                {"type": "tool-result", "toolName": "calculator", "result": '{"value": 15}'},
                {"type": "agent-response", "content": "The result is 15."},
            ]
    assert runner.played == 2


async def test_messages_sent_at_once_are_answered_one_after_the_other(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with socket(gateway) as connection:
        for index in range(4):
            await connection.send(json.dumps({"message": f"m{index}"}))
        async with asyncio.timeout(10):
            contents = [json.loads(await connection.recv())["content"] for _ in range(8)]
    assert contents == [text for i in range(4) for text in (f"m{i}", f"echo: m{i}")]


async def revoke(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key, and verdicts are not kept."""
    monkeypatch.setattr("services.gateway.key_ring.FRESH_S", 0.0)
    async with gateway.database.transaction() as connection:
        await connection.execute("UPDATE api_keys SET revoked_at = now()")


async def test_an_open_socket_ends_at_the_first_message_after_its_key_was_revoked(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with socket(gateway) as connection:
        assert (await said(connection, {"message": "hi"}, count=2))[1]["content"] == "echo: hi"
        await revoke(gateway, monkeypatch)
        with pytest.raises(ConnectionClosed, match="was revoked") as caught:
            await said(connection, {"message": "hi"}, count=1)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
    assert runner.played == 1


async def test_a_ticket_of_a_key_that_was_revoked_meanwhile_opens_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"?ticket={(await gateway.http.post('/api/tickets')).json()['ticket']}"
    await revoke(gateway, monkeypatch)
    assert await status_of_refusal(socket(gateway, query, **{"X-Other": "x"})) == 401


WRONG: list[tuple[Any, str]] = [
    ("nonsense", "not valid JSON"),
    ({"message": ""}, "message: "),
    ({"text": "hi"}, "the fields here are message, model, session_id"),
    ({"message": "hi", "model": "gpt-9"}, "unknown model"),
    ({"message": "hi", "session_id": f"sk-{'a' * 24}"}, "session_id: must not look like a credential"),
    ({str(index): 1 for index in range(1000)}, "the body has 1001 faults"),
    ({"message": "fail"}, "the provider said no"),
]


async def test_what_goes_wrong_on_a_socket_is_told_there_and_the_chat_goes_on(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with socket(gateway) as connection:
        for message, hint in WRONG:
            error = (await said(connection, message, count=1))[0]
            assert error["type"] == "error"
            assert hint in error["message"]
            assert (await said(connection, {"message": "hi"}, count=2))[1]["content"] == "echo: hi"


async def test_a_long_answer_is_whole_on_a_socket_too(gateway: Gateway, runner: FakeRunner) -> None:
    message = "word " * 20_000
    async with socket(gateway) as connection:
        shown = await said(connection, {"message": message}, count=2)
    assert [each["content"] for each in shown] == [message, f"echo: {message}"]


async def test_a_message_that_is_no_text_of_a_sane_size_ends_the_chat(gateway: Gateway) -> None:
    for message, code in (("x" * 1_100_000, 1009), (b"bytes", 1008)):
        async with socket(gateway) as connection:
            with pytest.raises(ConnectionClosed) as caught:
                await said(connection, message, count=1)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == code


async def test_who_sends_without_end_while_a_run_holds_is_stopped(
    gateway: Gateway, runner: FakeRunner
) -> None:
    async with socket(gateway) as connection:
        with suppress(ConnectionClosed):  # how many it takes in is its own affair
            for _ in range(50):
                await said(connection, {"message": "hold"}, count=0)
        with pytest.raises(ConnectionClosed, match="may wait for an answer"):
            await asyncio.wait_for(connection.recv(), 10)


async def status_of_refusal(opening: connect) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with opening:
            pass
    response = caught.value.response
    assert json.loads(response.body or b"")["status"] == response.status_code
    assert response.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)
    return response.status_code


async def test_a_socket_opens_only_with_a_key(gateway: Gateway) -> None:
    assert await status_of_refusal(socket(gateway, **{"X-Other": "x"})) == 401
    assert await status_of_refusal(socket(gateway, **{"X-API-Key": mint().text})) == 401


async def test_a_ticket_opens_one_socket_once(gateway: Gateway, runner: FakeRunner) -> None:
    issued = await gateway.http.post("/api/tickets")
    assert (issued.status_code, issued.json()["expires_in"]) == (201, 30)
    query = f"?ticket={issued.json()['ticket']}"
    async with socket(gateway, query, **{"X-Other": "x"}) as connection:
        assert (await said(connection, {"message": "hi"}, count=2))[1]["content"] == "echo: hi"
    assert await status_of_refusal(socket(gateway, query, **{"X-Other": "x"})) == 401


async def test_a_ticket_is_good_for_thirty_seconds_and_only_unchanged(gateway: Gateway) -> None:
    time = 1000.0
    tickets = Tickets(PEPPER, Idempotency(gateway.nats), clock=lambda: time)
    principal = Principal("default", "k", "test", frozenset({"read"}))
    ticket = tickets.issue(principal)
    assert await tickets.redeem(tickets.issue(principal)) == principal
    unprefixed = ticket.removeprefix("aos_ticket_")
    for other in ("", "aos_ticket_", ticket[:-1], f"{ticket}x", f"aos_ticket_x{unprefixed}", unprefixed, "ä"):
        with pytest.raises(Problem, match="not one of ours"):
            await tickets.redeem(other)
    with pytest.raises(Problem, match="not one of ours"):
        await Tickets("another pepper", Idempotency(gateway.nats)).redeem(ticket)
    time += 31
    with pytest.raises(Problem, match="older than 30 s"):
        await tickets.redeem(ticket)


async def test_pages_of_other_sites_may_not_open_a_socket(nats_url: str, database_url: str) -> None:
    allowed = {"GATEWAY_ALLOWED_ORIGINS": '["https://console.example"]'}
    async with running_gateway(nats_url, database_url, allowed) as gateway:
        key = {"X-API-Key": gateway.key}
        host = gateway.url.removeprefix("http://")
        for origin in ("https://evil.example", "null", f"http://{host}@evil.example", "http://[::1", ""):
            assert await status_of_refusal(socket(gateway, **key, Origin=origin)) == 403, origin
        for origin in ("https://console.example", gateway.url):
            async with socket(gateway, **key, Origin=origin):
                pass


async def test_a_ticket_of_a_key_that_may_only_read_opens_nothing(gateway: Gateway) -> None:
    credential = mint()
    row = KeyRow(credential.id, "default", "x", credential.digest(PEPPER), frozenset({"read"}), None, None)
    async with gateway.database.transaction() as connection:
        await add_key(connection, row)
    assert await status_of_refusal(socket(gateway, **{"X-API-Key": credential.text})) == 403
