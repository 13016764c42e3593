"""Reading stored messages of a stream by subject, without a consumer (batched direct get)."""

import json
from collections.abc import AsyncIterator
from typing import Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

READ_BATCH: Final = 256
READ_TIMEOUT_S: Final = 5.0


async def stored_messages(client: Client, stream: str, subject: str, start: int = 1) -> AsyncIterator[Msg]:
    """The messages of a subject (wildcards allowed) from a stream sequence on, in order.

    A replica answers, so the newest may be missing. Raises Unavailable.
    """
    while True:
        inbox = client.new_inbox()
        replies = await _subscribe(client, inbox)
        pending = 0
        try:
            ask = {"next_by_subj": subject, "seq": start, "batch": READ_BATCH}
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(ask).encode(), reply=inbox)
            while True:
                message = await replies.next_msg(timeout=READ_TIMEOUT_S)
                if _status_of(message) is not None:
                    _raise_unless_end(message)
                    break
                yield message
                start = sequence_of(message) + 1
                pending = int((message.headers or {}).get("Nats-Num-Pending", "0"))
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        finally:
            await _unsubscribe(replies)
        if pending == 0:
            return


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


async def _subscribe(client: Client, inbox: str) -> Subscription:
    try:
        return await client.subscribe(inbox, pending_msgs_limit=READ_BATCH + 8)
    except (NatsError, OSError) as error:
        raise Unavailable(f"the broker is away: {error or type(error).__name__}") from error


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except (NatsError, OSError) as error:
        log.debug("not unsubscribed, the connection is gone and the subscription with it", error=str(error))
