"""What the replayer is told, on the stream WORK: one subject for each replay, its order first."""

import asyncio
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError

from services.gateway.replays import refusals
from shared.bus import WORK, jetstream
from shared.errors import Unavailable
from shared.messages import ReplayMessage, ReplayRequested, replay_messages
from shared.run_log import WRONG_LAST_SEQUENCE
from shared.subjects import replay_subject

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 2.0


class Work:
    def __init__(self, client: Client) -> None:
        self._js = jetstream(client)

    async def tell(self, message: ReplayMessage) -> None:
        """Returns once the message is on the broker's disk; to repeat it is harmless. Raises Problem: 503."""
        headers: dict[str, str] = {Header.MSG_ID: f"{message.kind}:{message.replay_id}"}
        if isinstance(message, ReplayRequested):
            headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = "0"
        subject = replay_subject(message.project, message.replay_id)
        data = replay_messages.dump_json(message)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._js.publish(subject, data, stream=WORK, headers=headers)
        except (NatsError, OSError, TimeoutError) as error:
            if isinstance(error, APIError) and error.err_code in WRONG_LAST_SEQUENCE:
                return  # it is there, from an earlier try
            log.warning("the broker did not confirm a replay", replay_id=message.replay_id, error=str(error))
            raise refusals.not_confirmed(message.replay_id) from error

    async def order(self, project: str, replay_id: str) -> ReplayRequested | None:
        """None for a replay that there is not, or that is so old that only Postgres knows of it. Raises
        Unavailable."""
        subject = replay_subject(project, replay_id)
        try:
            async with asyncio.timeout(PATIENCE_S):  # asked of the leader: a replica may not have it yet
                first = await self._js.get_msg(WORK, seq=1, subject=subject, next=True)
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        told = replay_messages.validate_json(first.data or b"")
        return told if isinstance(told, ReplayRequested) else None
