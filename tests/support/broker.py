"""What the broker holds: whether a consumer is through with its stream, and the dead letters."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus import DEAD, Durable, jetstream
from shared.stored import stored_messages


async def settled(client: Client, durable: Durable) -> bool:
    """Whether every message of the stream was delivered to the consumer and acknowledged."""
    info = await jetstream(client).consumer_info(durable.stream, durable.name)
    return not info.num_pending and not info.num_ack_pending


async def dead_letters(client: Client) -> list[Msg]:
    """The oldest first; where each is stored is in its headers (`sequence_of`, `subject_of`)."""
    return [letter async for letter in stored_messages(client, DEAD, "dead.>")]
