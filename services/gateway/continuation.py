"""Continuing a session: which runs come before a new one, decided once for all gateways by the broker.

The session's entry names its newest run and the one before. A new run takes the newest one's place with
compare-and-set and carries the runs whose conversation it continues (`history.py`); a run that was never
requested after all is passed over. The runner waits for the one right before it. A session that the broker
has forgotten, since it was silent for so long, goes on behind its newest run in Postgres.
"""

import asyncio
import hashlib
from typing import Final, Literal

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel

from services.gateway.history import History
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import LogReader, is_old
from services.gateway.problems import Kind, Problem
from services.gateway.runs import Runs
from shared.bus import SESSIONS, jetstream
from shared.errors import Unavailable
from shared.steps import HistoryPart, RunRequested
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

OnBusy = Literal["enqueue", "reject", "interrupt"]
SESSION_BUSY: Final = Kind("session-busy", 409, "Another run of the session goes on")
PATIENCE_S: Final = 2.0
MOST_CONFLICTS: Final = 50
ENDS: Final = frozenset({"run-finished", "run-deleted"})


class Entry(BaseModel):
    """The newest run of a session, and the one before it."""

    run_id: str
    before: str | None = None


class Continuation:
    """Raises Problem (409 for a busy session) and Unavailable."""

    def __init__(
        self, client: Client, reader: LogReader, runs: Runs, lifecycle: Lifecycle, history: History
    ) -> None:
        self._js = jetstream(client)
        self._reader = reader
        self._runs = runs
        self._lifecycle = lifecycle
        self._history = history
        self._bucket: KeyValue | None = None

    async def join(self, run: RunKey, session_id: str, on_busy: OnBusy, who: str) -> tuple[HistoryPart, ...]:
        """The earlier runs that this one continues, the oldest first; from now on it is the newest."""
        name = f"{run.project}.{hashlib.sha256(session_id.encode()).hexdigest()}"
        for _ in range(MOST_CONFLICTS):
            entry, revision = await self._entry(name)
            earlier = await self._newest(run, entry or await self._forgotten(run, session_id))
            if earlier is not None:
                await self._make_way(RunKey(run.project, earlier.run_id), on_busy, who)
            before = earlier.run_id if earlier is not None else None
            if await self._replace(name, Entry(run_id=run.run_id, before=before), revision):
                return await self._history.behind(earlier) if earlier is not None else ()
        raise Unavailable("many runs of the session start at once; try again")

    async def has(self, run: RunKey) -> bool:
        """Whether the run was really made, and has its place, even if it is deleted by now."""
        return await self._reader.last(run) is not None or await self._runs.job(run, certain=True) is not None

    async def _forgotten(self, run: RunKey, session_id: str) -> Entry | None:
        try:
            newest = await self._runs.newest_of_session(run, session_id)
        except Unavailable as error:  # nearly always a new session, which needs no database
            log.warning("it is not known whether a session is an old one", error=str(error))
            return None
        return Entry(run_id=newest.run_id) if newest is not None else None

    async def _newest(self, run: RunKey, entry: Entry | None) -> RunRequested | None:
        """The request of the newest run before this one that was really made and is not deleted."""
        for run_id in (entry.run_id, entry.before) if entry is not None else ():
            if run_id is None or run_id == run.run_id:
                continue
            key = RunKey(run.project, run_id)
            last = await self._reader.last(key)
            if last is not None and last.is_deleted:
                continue
            request = await self._runs.job(key, certain=True)
            if request is None and is_old(key):
                request = await self._runs.recorded_request(key)
            if isinstance(request, RunRequested):
                return request
        return None

    async def _has_ended(self, run: RunKey) -> bool:
        last = await self._reader.last(run)
        if last is None and is_old(run):
            return (await self._runs.find(run)).view.status.is_final
        return last is not None and not ENDS.isdisjoint(last.kinds)

    async def _make_way(self, earlier: RunKey, on_busy: OnBusy, who: str) -> None:
        if await self._has_ended(earlier):
            return
        if on_busy == "reject":
            raise Problem(
                SESSION_BUSY, f"the run {earlier.run_id} of the session goes on", run_id=earlier.run_id
            )
        if on_busy == "interrupt":
            await self._lifecycle.cancel_if_active(earlier, who, "a newer run of the session takes its place")

    async def _entry(self, name: str) -> tuple[Entry | None, int]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await (await self._open()).get(name)
        except KeyNotFoundError:
            return None, 0
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer: {error or type(error).__name__}") from error
        return Entry.model_validate_json(found.value or b""), found.revision or 0

    async def _replace(self, name: str, entry: Entry, revision: int) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await (await self._open()).update(name, entry.model_dump_json().encode(), last=revision)
        except (KeyWrongLastSequenceError, APIError):
            return False
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer: {error or type(error).__name__}") from error
        return True

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._js.key_value(SESSIONS)
        return self._bucket
