"""Reading a run's log by pages, large bodies left as references.

`shared.run_log` reads a whole log and puts every body back in its place, which is what a runner needs;
an API that serves many readers needs bounded pages and steps as small as they are stored.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from shared.bus import DAY_S, KINDS_HEADER, RETENTION_S, RUNS, jetstream
from shared.errors import Unavailable
from shared.step_codec import decode_steps
from shared.steps import Step, now
from shared.stored import last_stored, page, sequence_of
from shared.subjects import RunKey, job_subject, log_subject

PAGE_BYTES: Final = 4 * 1024 * 1024
READ_TIMEOUT_S: Final = 3.0
LASTS: Final = timedelta(seconds=RETENTION_S - 2 * DAY_S)
"""How old a message may be for its run to go on, since that works for a day at the most until it waits."""


@dataclass(frozen=True)
class Last:
    """The last message of a run's log: where the log ends, and with which kinds of step."""

    sequence: int
    kinds: frozenset[str]

    @property
    def is_deleted(self) -> bool:
        return "run-deleted" in self.kinds


class LogReader:
    """Reads the logs of all runs. Every method raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = jetstream(client)

    async def last(self, run: RunKey) -> Last | None:
        """None when the run's log holds nothing (it may be queued: see `job`)."""
        message = await last_stored(self._client, RUNS, log_subject(run))
        if message is None:
            return None
        headers = message.headers or {}
        kinds = frozenset(headers.get(KINDS_HEADER, "").split(","))
        return Last(int(headers["Nats-Sequence"]), kinds)

    async def job(self, run: RunKey) -> Step | None:
        """Step 0; None only if the stream's leader says so, for a follower may not have it yet."""
        subject = job_subject(run)
        message = await last_stored(self._client, RUNS, subject)
        data = message.data if message is not None else await self._leader_data(subject)
        return decode_steps(data)[0] if data else None

    async def pages(self, run: RunKey, *, after: int = 0) -> AsyncIterator[list[tuple[int, bytes]]]:
        """The messages behind stream sequence `after`: pages of (sequence, JSON array of steps)."""
        async for messages in self.messages(run, after=after):
            yield [(sequence_of(message), message.data) for message in messages]

    async def messages(self, run: RunKey, *, after: int = 0) -> AsyncIterator[tuple[Msg, ...]]:
        """As `pages`, the messages themselves."""
        subject = log_subject(run)
        more = True
        while more:
            read = await page(self._client, RUNS, subject, after + 1, most_bytes=PAGE_BYTES)
            if read.messages:
                after = sequence_of(read.messages[-1])
                yield read.messages
            more = read.more

    async def _leader_data(self, subject: str) -> bytes | None:
        try:
            message = await asyncio.wait_for(
                self._js.get_last_msg(RUNS, subject, direct=False), READ_TIMEOUT_S
            )
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        return message.data


def is_old(run: RunKey) -> bool:
    """Whether the broker may have lost a part of the run, or is about to, by the time in the run's id."""
    return now() - run.accepted_at > LASTS


def lasts(message: Msg) -> bool:
    """Whether the broker keeps a message read by direct get for as long as a run may work."""
    return now() - datetime.fromisoformat((message.headers or {})["Nats-Time-Stamp"]) < LASTS
