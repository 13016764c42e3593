"""Reading stored messages of a stream by subject, without a consumer (batched direct get)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

READ_BATCH: Final = 256
READ_BYTES: Final = 4 * 1024 * 1024
READ_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Page:
    """Stored messages in order; `more` says that others follow."""

    messages: tuple[Msg, ...]
    more: bool


async def page(
    client: Client, stream: str, subject: str, start: int = 1, *, most_bytes: int = READ_BYTES
) -> Page:
    """The messages of a subject (wildcards allowed) from a stream sequence on, as many as fit.

    A replica answers, so the newest may be missing. Raises Unavailable.
    """
    ask = {"next_by_subj": subject, "seq": start, "batch": READ_BATCH, "max_bytes": most_bytes}
    messages, more = await _batch(client, stream, ask)
    return Page(messages, more > 0)


async def count_stored(client: Client, stream: str, subject: str) -> int:
    """How many messages a subject has (wildcards allowed), as a replica knows. Raises Unavailable."""
    messages, more = await _batch(client, stream, {"next_by_subj": subject, "seq": 1, "batch": 1})
    return len(messages) + more


async def _batch(client: Client, stream: str, ask: Mapping[str, object]) -> tuple[tuple[Msg, ...], int]:
    """The messages that were asked for, and how many follow them."""
    messages: list[Msg] = []
    end: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def take(message: Msg) -> None:
        if _status_of(message) is None:
            messages.append(message)
        elif not end.done():
            end.set_result(message)

    inbox = client.new_inbox()
    try:
        replies = await client.subscribe(inbox, cb=take)
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(ask).encode(), reply=inbox)
            async with asyncio.timeout(READ_TIMEOUT_S):
                last = await end
        finally:
            await _unsubscribe(replies)
    except (NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
    _raise_unless_end(last)
    return tuple(messages), int((last.headers or {}).get("Nats-Num-Pending", "0"))


async def stored_messages(client: Client, stream: str, subject: str, start: int = 1) -> AsyncIterator[Msg]:
    """All messages of a subject from a stream sequence on, in order. Raises Unavailable."""
    more = True
    while more:
        read = await page(client, stream, subject, start)
        for message in read.messages:
            yield message
            start = sequence_of(message) + 1
        more = read.more


async def last_stored(client: Client, stream: str, subject: str) -> Msg | None:
    """The last message of one literal subject, from a replica. Raises Unavailable."""
    try:
        message = await client.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=READ_TIMEOUT_S)
    except (NatsError, OSError) as error:
        raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
    if _status_of(message) is None:
        return message
    _raise_unless_end(message)
    return None


def sequence_of(message: Msg) -> int:
    """The stream sequence of a message read by direct get."""
    return int((message.headers or {})["Nats-Sequence"])


def subject_of(message: Msg) -> str:
    """The subject that a message read by direct get is stored under."""
    return str((message.headers or {})["Nats-Subject"])


def _status_of(message: Msg) -> str | None:
    return (message.headers or {}).get("Status")


def _raise_unless_end(message: Msg) -> None:
    """Status 204 ends a batch and 404 says that there is nothing; all others are faults."""
    status = _status_of(message)
    if status not in {"204", "404"}:
        raise Unavailable(f"the broker answered a read with status {status}")


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except (NatsError, OSError) as error:
        log.debug("not unsubscribed, the connection is gone and the subscription with it", error=str(error))
