"""What is going on in a run right now, sent over core NATS and never stored.

Token deltas are put together: at most one message per run in 40 ms, so a fast model does not flood the bus.
"""

import asyncio
import json
from typing import Final, Protocol

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.runner.model import Live
from shared.scrub import Scrubber
from shared.steps import Attempt
from shared.subjects import RunKey, live_subject

log = structlog.get_logger(__name__)
INTERVAL_S: Final = 0.04


class Feed(Live, Protocol):
    """Where a run's model calls tell of themselves."""

    def close(self) -> None:
        """The answer is whole."""
        ...


class Silence:
    """Nobody is told."""

    def started(self, model: str) -> None: ...

    def delta(self, text: str) -> None: ...

    def retrying(self, attempt: Attempt) -> None: ...

    def close(self) -> None: ...


class LiveFeed:
    """The feed of one run. The first delta of a message leaves at once, later ones at the interval."""

    def __init__(self, client: Client, key: RunKey, scrubber: Scrubber) -> None:
        self._client = client
        self._subject = live_subject(key)
        self._scrubber = scrubber
        self._text = ""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def started(self, model: str) -> None:
        self._send({"type": "model-call", "model": model})

    def delta(self, text: str) -> None:
        self._text += text
        if self._timer is None:
            self._flush()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._tick)

    def retrying(self, attempt: Attempt) -> None:
        self._text = ""
        self._send({"type": "retry", **attempt.model_dump(), "error": self._scrubber.text(attempt.error)})

    def close(self) -> None:
        """Send what is left of the text."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush(whole=True)

    def _tick(self) -> None:
        self._timer = None
        if self._text:
            self._flush()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._tick)

    def _flush(self, *, whole: bool = False) -> None:
        """Send what may be shown; what may be the start of a secret waits for what follows it."""
        end = len(self._text) if whole else self._scrubber.complete(self._text)
        text, self._text = self._text[:end], self._text[end:]
        if text:
            self._send({"type": "delta", "text": self._scrubber.text(text)})

    def _send(self, event: dict[str, object]) -> None:
        task = asyncio.create_task(self._publish(json.dumps(event).encode()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, payload: bytes) -> None:
        try:
            await self._client.publish(self._subject, payload)
        except (NatsError, OSError) as error:
            log.debug("live event not sent", error=str(error))  # the log has the truth; this is a preview
