"""A run in hand: the delivery that stands for it in the queue, and its loop once it is claimed."""

from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.runner.loop import RunLoop
from shared.run_log import AGAIN_HEADER
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

GIVE_BACK_S: Final = 0.1
"""The delay with which another runner gets the job: soon, but no busy loop."""


class Job:
    """`loop` is there while the run is driven; `leaving`: it is to be handed back soon; `successor`: the job
    was put into the queue once more, for what has come since."""

    def __init__(self, message: Msg) -> None:
        self.key = RunKey.of_subject(message.subject)
        self.message = message
        self.loop: RunLoop | None = None
        self.leaving = False
        self.successor: Msg | None = None

    @property
    def is_first(self) -> bool:
        """Whether nobody can have claimed the run yet."""
        return self.delivered == 1 and AGAIN_HEADER not in (self.message.headers or {})

    def take(self, message: Msg) -> None:
        """Another delivery of the run in hand: the broker missed our heartbeats, or the job was put back."""
        if message.metadata.sequence.stream == self.message.metadata.sequence.stream:
            self.message = message
        else:
            self.successor = message

    @property
    def delivered(self) -> int:
        """How often the broker has delivered this run's job, this time included."""
        return int(self.message.metadata.num_delivered)

    def look(self) -> None:
        if self.loop is not None:
            self.loop.look()

    def interrupt(self) -> None:
        if self.loop is not None:
            self.loop.interrupt()

    def hand_back(self) -> None:
        self.leaving = True
        if self.loop is not None:
            self.loop.hand_back()

    async def keep_alive(self) -> None:
        """Tell the broker that the run is being worked on. Raises the client's errors."""
        await self.message.in_progress()

    async def settle(self, *, delay: float | None = None) -> None:
        """Acknowledge the job, or give it back to be delivered again after the delay."""
        try:
            if delay is None:
                await self.message.ack()
            else:
                await self.message.nak(delay=delay)
        except (NatsError, OSError) as error:
            log.info("job not settled, the broker will redeliver it", error=str(error))
