"""Who calls: from an API key to a project and its scopes, without a database read for each request.

A verdict is trusted for 30 s, so a revoked key dies within that time; while Postgres is away, a key that
was good keeps working for five minutes. Not here: where the key stands in a request (`auth.py`).
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog

from services.gateway.credentials import Credential, MalformedKey, parse
from services.gateway.problems import unauthorized, unavailable
from services.gateway.store import KeyRow
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

FRESH_S: Final = 30.0
UNKNOWN_S: Final = 1.0  # an unknown key is asked for again soon: it may have just been made
STALE_S: Final = 300.0
LOOKUP_TIMEOUT_S: Final = 1.0
RETRY_S: Final = 2.0
MOST_ENTRIES: Final = 10_000

Lookup = Callable[[str], Awaitable[KeyRow | None]]


@dataclass(frozen=True)
class Principal:
    """Who calls: a key of a project, and what the key allows."""

    project: str
    key_id: str
    key_name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class _Entry:
    row: KeyRow | None
    looked_up: float

    def is_fresh(self, at: float) -> bool:
        return at - self.looked_up < (FRESH_S if self.row else UNKNOWN_S)


class KeyRing:
    """Verifies keys. `lookup` finds a row by a key's id and raises Unavailable."""

    def __init__(self, lookup: Lookup, pepper: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._lookup = lookup
        self._pepper = pepper
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._underway: dict[str, asyncio.Task[KeyRow | None]] = {}
        self._not_before = 0.0

    async def verify(self, text: str) -> Principal:
        """The holder of the key. Raises Problem: 401, or 503 when the database is away."""
        try:
            credential = parse(text)
        except MalformedKey as error:
            raise unauthorized(str(error)) from None
        row = await self._row(credential.id)
        return principal_of(row, credential, self._pepper, datetime.now(UTC))

    async def renew(self, principal: Principal) -> Principal:
        """A caller who was verified before, as the key is now. Raises Problem as `verify` does."""
        row = await self._row(principal.key_id)
        if row is None:
            raise unauthorized("this API key is not known here any more")
        return _working(row, datetime.now(UTC))

    async def _row(self, key_id: str) -> KeyRow | None:
        entry = self._entries.get(key_id)
        if entry is not None and entry.is_fresh(self._clock()):
            self._entries.move_to_end(key_id)
            return entry.row
        try:
            return await self._refresh(key_id)
        except (Unavailable, TimeoutError) as error:
            if entry is not None and entry.row and self._clock() - entry.looked_up < STALE_S:
                return entry.row
            raise unavailable(
                "the API key cannot be checked: the database is away", retry_after_s=2
            ) from error

    async def _refresh(self, key_id: str) -> KeyRow | None:
        """Ask the database: once for all who wait for the same key, and not at all just after it failed."""
        if self._clock() < self._not_before:
            raise Unavailable("the database did not answer a moment ago")
        task = self._underway.get(key_id)
        if task is None:
            task = asyncio.create_task(self._look_up(key_id), name="look up an API key")
            self._underway[key_id] = task
            task.add_done_callback(lambda _: self._underway.pop(key_id, None))
        return await asyncio.shield(task)

    async def _look_up(self, key_id: str) -> KeyRow | None:
        try:
            row = await asyncio.wait_for(self._lookup(key_id), LOOKUP_TIMEOUT_S)
        except (Unavailable, TimeoutError) as error:
            log.warning("keys cannot be looked up", error=str(error) or "no answer in time")
            self._not_before = self._clock() + RETRY_S
            raise
        self._entries[key_id] = _Entry(row, self._clock())
        self._entries.move_to_end(key_id)
        while len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)
        return row


def principal_of(row: KeyRow | None, credential: Credential, pepper: str, at: datetime) -> Principal:
    """The holder of the key at that time. Raises Problem (401) when the key does not work."""
    if row is None or not hmac.compare_digest(row.digest, credential.digest(pepper)):
        raise unauthorized("this API key is not known here")
    return _working(row, at)


def _working(row: KeyRow, at: datetime) -> Principal:
    if row.revoked_at is not None:
        raise unauthorized("this API key was revoked; use another")
    if row.expires_at is not None and row.expires_at <= at:
        raise unauthorized(f"this API key expired at {row.expires_at.isoformat()}; use another")
    return Principal(row.project, row.id, row.name, row.scopes)
