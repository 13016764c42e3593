"""One attempt to deliver: what counts as a success, what is refused, and that nothing lasts."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.gateway.problems import Problem
from services.gateway.webhooks import sender as module
from services.gateway.webhooks.deliveries import MOST_ATTEMPTS, pause_s, status_after
from services.gateway.webhooks.event import Event
from services.gateway.webhooks.sender import Attempt, Sender, host_of
from services.gateway.webhooks.signature import secret_of, shown, signed
from shared.addresses import Server
from tests.support.receiver import Received, Receiver, answer, running_receiver

AT = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
EVENT = Event("evt_1", "run.finished", "default", AT, "019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f")


class Names:
    """A name service that gives another answer each time; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def post(receiver: Receiver, url: str | None = None) -> Attempt:
    sender = Sender(frozenset({Server("127.0.0.1", receiver.port)}))
    return await sender.send(url or receiver.url, b"{}", {"Webhook-Id": "evt_1"})


async def test_a_success_is_any_answer_of_the_two_hundreds() -> None:
    async with running_receiver() as receiver:
        attempt = await post(receiver)
    assert (attempt.status, attempt.error) == (204, None)
    request = receiver.received[0]
    assert (request.path, request.body) == ("/hook", b"{}")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "evt_1"


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with running_receiver() as receiver:
        receiver.answer = lambda _: answer(307, head=f"Location: {receiver.url}/there\r\n")
        attempt = await post(receiver)
    assert attempt.status == 307
    assert "redirects are not followed" in str(attempt.error)
    assert len(receiver.received) == 1


async def test_a_server_that_does_not_answer_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    asked = asyncio.Event()

    async def never(_: Received) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    async with running_receiver() as receiver:
        receiver.answer = never
        attempt = await post(receiver)
    assert asked.is_set()
    assert (attempt.status, attempt.error) == (None, "no answer within 0.2 s")


async def test_an_endless_answer_is_not_read() -> None:
    async with running_receiver() as receiver:
        receiver.answer = lambda _: (
            b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 100_000
        )
        assert (await post(receiver)).error is None


@pytest.mark.parametrize(
    "given",
    [b"no http at all\r\n\r\n", b"HTTP/1.1 \x00 OK\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000],
)
async def test_an_answer_that_is_none_is_a_failure_in_words(given: bytes) -> None:
    async with running_receiver() as receiver:
        receiver.answer = lambda _: given
        attempt = await post(receiver)
    assert attempt.status is None
    assert "Error" in str(attempt.error)
    assert "\x00" not in str(attempt.error)


async def test_a_server_that_is_away_is_a_failure_in_words() -> None:
    async with running_receiver() as receiver:
        pass
    assert "ConnectError" in str((await post(receiver)).error)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "http://10.1.2.3/",
        "http://[::1]/",
        "http://[::ffff:192.168.0.1]/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_private_addresses_are_refused_when_made_and_when_sent(url: str) -> None:
    sender = Sender(frozenset())
    with pytest.raises(Problem, match="is not a public server; give a URL that the internet can reach"):
        await sender.judge(url)
    assert "is not a public server" in str((await sender.send(url, b"{}", {})).error)


async def test_a_name_that_becomes_private_later_is_refused_when_sent() -> None:
    async with running_receiver() as receiver:
        names = Names(["93.184.215.14"], ["127.0.0.1"])
        sender = Sender(frozenset(), names)
        url = f"http://hooks.example:{receiver.port}/"
        await sender.judge(url)
        assert "is not a public server" in str((await sender.send(url, b"{}", {})).error)
    assert receiver.received == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    sender = Sender(frozenset(), Names(["93.184.215.14", "10.0.0.1"]))
    with pytest.raises(Problem):
        await sender.judge("https://hooks.example/")


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    async with running_receiver() as receiver:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        allow = frozenset({Server("hooks.example", receiver.port)})
        sender = Sender(allow, names)
        attempt = await sender.send(f"http://hooks.example:{receiver.port}/", b"{}", {})
    assert (attempt.error, names.asked) == (None, 1)
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_name_that_is_not_known_may_be_registered_and_is_a_failure_when_sent() -> None:
    sender = Sender(frozenset(), Names([]))
    assert await sender.judge("https://soon.example/") == "soon.example"
    attempt = await sender.send("https://soon.example/", b"{}", {})
    assert attempt.error == "HostUnknown: there is no server named 'soon.example'"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com/", "http:// or https://"),
        ("example.com/hooks", "http:// or https://"),
        ("https://", "http:// or https://"),
        ("https://me:secret@example.com/", "no user name"),
        ("https://example.com/#top", "#fragment"),
        ("https://exa mple.com/", "no right host"),
        ("https://example.com:99999/", "no right host or port"),
        ("https://example.com/\x00", "is no URL"),
    ],
)
def test_what_is_no_address_for_events_is_refused_without_quoting_it(url: str, words: str) -> None:
    with pytest.raises(Problem, match=words) as refused:
        host_of(url)
    assert "secret" not in refused.value.detail


def test_the_signature_is_that_of_standard_webhooks() -> None:
    secret = shown(secret_of("a pepper for tests only", "019a9f20-1111-7b7e-9a56-6f4a3c1d2e5f"))
    headers = signed(EVENT, base64.b64decode(secret.removeprefix("whsec_")), AT)
    assert headers["Webhook-Timestamp"] == "1795163400"
    content = f"{headers['Webhook-Id']}.{headers['Webhook-Timestamp']}.{EVENT.body.decode()}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert len(key) == 32
    expected = base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()
    assert headers["Webhook-Signature"] == f"v1,{expected}"


def test_each_webhook_and_each_pepper_has_a_secret_of_its_own() -> None:
    secrets = {secret_of(pepper, name) for pepper in ("one pepper", "another") for name in ("a", "b")}
    assert len(secrets) == 4


def test_the_body_is_thin_and_the_same_every_time() -> None:
    assert EVENT.body == (
        b'{"id":"evt_1","type":"run.finished","project":"default","time":"2026-11-20T08:30:00Z",'
        b'"run_id":"019a9f1c-7c39-7b7e-9a56-6f4a3c1d2e5f"}'
    )


def test_attempts_go_on_for_about_a_day_with_growing_pauses() -> None:
    pauses = [pause_s(attempt, 0.5) for attempt in range(1, MOST_ATTEMPTS)]
    assert pauses[:4] == [5, 15, 45, 135]
    assert max(pauses) == 4 * 3600
    assert 24 * 3600 < sum(pauses) < 26 * 3600
    assert (pause_s(1, 0.0), pause_s(1, 1.0)) == pytest.approx((4.0, 6.0))


def test_a_delivery_is_given_up_after_the_last_attempt() -> None:
    refused = Attempt(500, "answered 500", 1)
    assert status_after(Attempt(200, None, 1), MOST_ATTEMPTS) == "delivered"
    assert status_after(refused, MOST_ATTEMPTS - 1) == "pending"
    assert status_after(refused, MOST_ATTEMPTS) == "failed"


def test_the_documentations_way_to_verify_takes_what_is_genuine_and_nothing_else() -> None:
    text = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    is_genuine = names["is_genuine"]
    secret = secret_of("a pepper for tests only", "an id")
    headers, body = signed(EVENT, secret, datetime.now(UTC)), EVENT.body
    assert is_genuine(shown(secret), headers, body)
    two = {"Webhook-Signature": f"v1,AAAA {headers['Webhook-Signature']}"}
    assert is_genuine(shown(secret), headers | two, body)
    assert not is_genuine(shown(secret), headers, body + b" ")
    assert not is_genuine(shown(secret), headers | {"Webhook-Id": "evt_2"}, body)
    assert not is_genuine(shown(secret_of("another pepper", "an id")), headers, body)
    assert not is_genuine(shown(secret), signed(EVENT, secret, AT), body)
