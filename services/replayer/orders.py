"""Orders of replays from the stream WORK: written into `replays`, each once."""

from collections.abc import Callable, Sequence

import structlog
from nats.aio.client import Client
from pydantic import ValidationError

from services.replayer.store import replays
from shared.bus import WORK
from shared.consumer import Broken, Form
from shared.database import Database
from shared.messages import ReplayCancelled, ReplayMessage, ReplayRequested, replay_messages
from shared.step_codec import Undecodable, explained
from shared.stored import stored_messages
from shared.subjects import replay_subject

log = structlog.get_logger(__name__)


def _decode(data: bytes) -> tuple[list[ReplayMessage], list[Broken]]:
    try:
        return [replay_messages.validate_json(data)], []
    except ValidationError as error:
        raise Undecodable(explained(error)) from None


ORDERS = Form[ReplayMessage](_decode, replay_messages.dump_json)


class Orders:
    """`wake`: there is something to do."""

    def __init__(self, database: Database, client: Client, wake: Callable[[], None]) -> None:
        self._database = database
        self._client = client
        self._wake = wake

    async def take(self, messages: Sequence[ReplayMessage]) -> None:
        """Raises Unavailable or Permanent."""
        async with self._database.transaction() as connection:
            await replays.add(connection, [each for each in messages if isinstance(each, ReplayRequested)])
        for message in messages:
            if isinstance(message, ReplayCancelled):
                await self._call_off(message)
        self._wake()

    async def _call_off(self, message: ReplayCancelled) -> None:
        """Its order may still be in the hands of another replayer: then it is written here."""
        async with self._database.transaction() as connection:
            if await replays.call_off(connection, message.project, message.replay_id):
                return
        order = await self._stored_order(message)
        if order is None:
            log.warning("there is no such replay to cancel", replay_id=message.replay_id)
            return
        async with self._database.transaction() as connection:
            await replays.add(connection, [order])
            await replays.call_off(connection, message.project, message.replay_id)

    async def _stored_order(self, message: ReplayCancelled) -> ReplayRequested | None:
        subject = replay_subject(message.project, message.replay_id)
        async for stored in stored_messages(self._client, WORK, subject):
            try:
                [found], _ = _decode(stored.data)
            except Undecodable:  # that one is in the dead letters
                continue
            if isinstance(found, ReplayRequested):
                return found
        return None
