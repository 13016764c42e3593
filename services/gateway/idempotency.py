"""Idempotency keys: which run a key stands for, decided once for all gateways by the broker.

The first request with a key stores its run's id before the run is requested; every other request with the
key finds it there. A crash in between leaves a key without a run, and the next request makes up for it.
"""

import asyncio
import hashlib
import re
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel

from services.gateway.problems import KEY_REUSED, Problem, invalid, unavailable
from shared.bus import IDEMPOTENCY_BUCKET, jetstream
from shared.errors import Unavailable
from shared.run_log import STREAM_FULL

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
VALID: Final = re.compile(r"[!-~]{1,255}")
PATIENCE_S: Final = 2.0
REREAD_PAUSE_S: Final = 0.05


class Entry(BaseModel):
    """What a key stands for. `request` is the hash of what was asked."""

    run_id: str
    request: str


class Idempotency:
    """Claims keys. Raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._js = jetstream(client)
        self._bucket: KeyValue | None = None

    async def claim(self, project: str, key: str, entry: Entry) -> str:
        """The run of the key: the entry's, or that of the same request before.

        Raises Problem: 422 for a malformed key, 409 when the key stands for another request.
        """
        if not VALID.fullmatch(key):
            raise invalid(HEADER, "give 1 to 255 printable ASCII characters without spaces")
        name = f"{project}.{hashlib.sha256(key.encode()).hexdigest()}"
        try:
            async with asyncio.timeout(PATIENCE_S):
                known = await self._known_or_created(name, entry)
        except (NatsError, OSError, TimeoutError) as error:
            if isinstance(error, APIError) and error.err_code in STREAM_FULL:
                raise _no_room() from error
            raise Unavailable(
                f"the broker took no idempotency key: {error or type(error).__name__}"
            ) from error
        if known.request != entry.request:
            raise Problem(
                KEY_REUSED,
                f"this {HEADER} was used for another request; use a new key for a new request",
                run_id=known.run_id,
            )
        return known.run_id

    async def use_once(self, name: str, *, ttl_s: int) -> bool:
        """Whether nobody used this name in the last `ttl_s` seconds. Raises Unavailable.

        The broker forgets it by itself, so it takes no room from keys. No project begins with an underscore.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._created(f"_once.{name}", b"used", ttl_s)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer: {error or type(error).__name__}") from error

    async def _known_or_created(self, name: str, entry: Entry) -> Entry:
        """Within the caller's patience."""
        while not await self._created(name, entry.model_dump_json().encode()):
            try:
                value = (await (await self._open()).get(name)).value
                return Entry.model_validate_json(value or b"")
            except KeyNotFoundError:
                # Another request's entry is on its way to the replicas.
                await asyncio.sleep(REREAD_PAUSE_S)
        return entry

    async def _created(self, name: str, value: bytes, ttl_s: int | None = None) -> bool:
        try:
            await (await self._open()).create(name, value, msg_ttl=ttl_s)
        except (KeyWrongLastSequenceError, KeyNotFoundError):  # the latter: not readable yet
            return False
        return True

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._js.key_value(IDEMPOTENCY_BUCKET)
        return self._bucket


def _no_room() -> Problem:
    return unavailable(
        f"the broker keeps as many idempotency keys as it may; nothing was accepted: try again later, or "
        f"without an {HEADER}",
        retry_after_s=60,
    )
