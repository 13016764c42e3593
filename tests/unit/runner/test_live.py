"""The live feed: few messages, in order, and as free of secrets as the log."""

import asyncio
import json
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.errors import ConnectionClosedError

from services.runner.live import INTERVAL_S, LiveFeed
from shared.scrub import Scrubber
from shared.steps import Attempt
from tests.support.steps import new_key
from tests.support.waiting import eventually

SECRET = "vault-Passphrase-9"
KEY = new_key()


class Listener:
    """Stands where the broker's client is, and hears everything."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.subjects: set[str] = set()
        self.closed = False

    async def publish(self, subject: str, payload: bytes) -> None:
        if self.closed:
            raise ConnectionClosedError
        self.subjects.add(subject)
        self.events.append(json.loads(payload))

    @property
    def text(self) -> str:
        return "".join(event["text"] for event in self.events if event["type"] == "delta")


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def feed(listener: Listener) -> LiveFeed:
    return LiveFeed(cast("Client", listener), KEY, Scrubber([SECRET]))


async def test_many_deltas_become_few_messages_in_order(listener: Listener, feed: LiveFeed) -> None:
    words = [f"word{number} " for number in range(300)]
    began = asyncio.get_running_loop().time()
    for word in words:
        feed.delta(word)
        await asyncio.sleep(0)
    feed.close()
    elapsed = asyncio.get_running_loop().time() - began
    await eventually(lambda: listener.text == "".join(words))
    assert len(listener.events) <= 3 + elapsed / INTERVAL_S
    assert listener.subjects == {f"run.live.default.{KEY.run_id}"}


async def test_the_first_words_leave_at_once(listener: Listener, feed: LiveFeed) -> None:
    feed.started("m")
    feed.delta("Hello, the first words of the answer are here. ")
    await eventually(lambda: listener.text.startswith("Hello"), within_s=INTERVAL_S)
    assert listener.events[0] == {"type": "model-call", "model": "m"}
    feed.close()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_a_secret_streamed_in_pieces_is_redacted(listener: Listener, feed: LiveFeed, size: int) -> None:
    text = f"the key is {SECRET}, keep it"
    for start in range(0, len(text), size):
        feed.delta(text[start : start + size])
        await asyncio.sleep(INTERVAL_S * 1.2 if size > 1 else 0)
    feed.close()
    await eventually(lambda: listener.text.endswith("keep it"))
    assert SECRET not in listener.text


async def test_a_secret_in_a_providers_error_is_redacted(listener: Listener, feed: LiveFeed) -> None:
    feed.retrying(Attempt(status=401, error=f"the key {SECRET} is not valid", wait_s=1.0))
    await eventually(lambda: listener.events)
    assert SECRET not in json.dumps(listener.events)
    assert listener.events[0]["type"] == "retry"


async def test_a_retry_drops_what_was_not_sent_of_the_failed_try(listener: Listener, feed: LiveFeed) -> None:
    feed.delta("a")
    feed.delta("half a sentence that never")
    feed.retrying(Attempt(status=None, error="cut", wait_s=0.0))
    feed.delta("A whole one.")
    feed.close()
    await eventually(lambda: "A whole one." in listener.text)
    assert "never" not in listener.text


async def test_a_broker_that_is_away_costs_the_preview_and_nothing_else(
    listener: Listener, feed: LiveFeed
) -> None:
    listener.closed = True
    for _ in range(50):
        feed.delta("x" * 100)
    feed.close()
    await asyncio.sleep(0)
    listener.closed = False
    feed.delta("back")
    feed.close()
    await eventually(lambda: listener.text == "back")
