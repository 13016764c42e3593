"""The last message of a subject of the stream CATALOG, read by direct get and kept for a moment."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import BaseModel, ValidationError

from shared.bus import CATALOG, jetstream
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

KEPT_S: Final = 1.0  # so soon does every gateway know what a runner or another gateway said
READ_TIMEOUT_S: Final = 2.0

Announcement = TypeVar("Announcement", bound=BaseModel)


@dataclass(frozen=True)
class Ages:
    """For how many seconds a value counts, and that there is none."""

    kept: float = KEPT_S
    absent: float = KEPT_S


class Kept(Generic[Announcement]):
    """The last message of one catalogue subject, asked for no more often than its ages say."""

    def __init__(
        self, client: Client, subject: str, model: type[Announcement], ages: Ages, clock: Callable[[], float]
    ) -> None:
        self._js = jetstream(client)
        self._subject = subject
        self._model = model
        self._ages = ages
        self._clock = clock
        self._value: Announcement | None = None
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Announcement | None:
        """None when nothing was announced. Raises Unavailable when that is not known."""
        if self._is_fresh():
            return self._value
        async with self._lock:
            if not self._is_fresh():
                await self._read()
        return self._value

    def know(self, value: Announcement) -> None:
        """What was just published."""
        self._value, self._read_at = value, self._clock()

    def _is_fresh(self) -> bool:
        age = self._ages.kept if self._value is not None else self._ages.absent
        return self._read_at is not None and self._clock() - self._read_at < age

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                message = await self._js.get_last_msg(CATALOG, self._subject, direct=True)
            value = self._model.model_validate_json(message.data or b"")
            if value != self._value:  # what was made of the old one stays good
                self._value = value
        except NotFoundError:
            self._value = None
        except (NatsError, OSError, TimeoutError) as error:
            if self._read_at is None:
                raise Unavailable(f"the broker did not answer a read of the catalogue: {error}") from error
            log.warning("the catalogue is not read again", subject=self._subject, error=str(error))
        except ValidationError as error:
            log.error("an announcement is not readable", subject=self._subject, faults=error.error_count())
            self._value = None
        self._read_at = self._clock()
