"""Whether a project has so many runs in the broker's queue that its next one has to wait outside."""

import asyncio
import json
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from shared.bus import RUNNER, jetstream
from shared.errors import Unavailable
from shared.subjects import RunKey, job_subject

log = structlog.get_logger(__name__)

READ_TIMEOUT_S: Final = 2.0
LOOK_S: Final = 0.1
"""How long a project that was found crowded counts as such."""


@dataclass
class _Count:
    """What the queue held of a project, and what was added here since; `looked_at` by the monotonic clock."""

    known: int = 0
    added: int = 0
    looked_at: float = 0.0
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Crowding:
    """The broker is asked only once a project may have reached the limit, so most runs cost no question."""

    def __init__(self, client: Client, most: int) -> None:
        self._client = client
        self._js = jetstream(client)
        self._most = most
        self._counts: dict[str, _Count] = {}

    async def is_crowded(self, project: str) -> bool:
        """Counts the run that it is asked for unless it says yes. While the broker cannot say, it is no."""
        count = self._counts.setdefault(project, _Count())
        if count.known + count.added >= self._most:
            async with count.looking:  # who comes meanwhile waits for the answer
                await self._look(project, count)
            if count.known + count.added >= self._most:
                return True
        count.added += 1
        return False

    async def _look(self, project: str, count: _Count) -> None:
        if count.known + count.added < self._most or monotonic() - count.looked_at < LOOK_S:
            return
        try:
            count.known, count.added = await self.waiting(project), 0
        except Unavailable as error:
            log.info("the queue of a project was not counted", project=project, error=str(error))
            count.known, count.added = 0, 0
        count.looked_at = monotonic()

    async def waiting(self, project: str) -> int:
        """How many jobs of the project no runner has taken yet. Raises Unavailable."""
        ask = {"next_by_subj": job_subject(RunKey(project, "*")), "batch": 1}
        try:
            info = await self._js.consumer_info(RUNNER.stream, RUNNER.name)
            ask["seq"] = (info.delivered.stream_seq if info.delivered else 0) + 1
            first = await self._client.request(
                f"$JS.API.DIRECT.GET.{RUNNER.stream}", json.dumps(ask).encode(), timeout=READ_TIMEOUT_S
            )
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker did not answer: {error or type(error).__name__}") from error
        headers = first.headers or {}
        if "Status" in headers:
            return 0
        return int(headers["Nats-Num-Pending"]) + 1
