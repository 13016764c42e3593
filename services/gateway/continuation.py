"""Continuing a session: which runs come before a new one, decided once for all gateways by the broker.

The session's entry names its newest run and the one before. A new run takes the newest one's place with
compare-and-set and carries, by reference, the runs whose conversation it continues; a run that was never
requested after all is passed over. The runner waits for the one right before it.
"""

import asyncio
import hashlib
from typing import Final, Literal

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel

from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import LogReader
from services.gateway.problems import Kind, Problem
from shared.bus import SESSIONS, jetstream
from shared.errors import Unavailable
from shared.steps import HistoryPart, RunRequested
from shared.subjects import RunKey

OnBusy = Literal["enqueue", "reject", "interrupt"]
SESSION_BUSY: Final = Kind("session-busy", 409, "Another run of the session goes on")
MOST_RUNS: Final = 50
PATIENCE_S: Final = 2.0
MOST_CONFLICTS: Final = 50
ENDS: Final = frozenset({"run-finished", "run-deleted"})


class Entry(BaseModel):
    """The newest run of a session, and the one before it."""

    run_id: str
    before: str | None = None


class Continuation:
    """Raises Problem (409 for a busy session) and Unavailable."""

    def __init__(self, client: Client, reader: LogReader, lifecycle: Lifecycle) -> None:
        self._js = jetstream(client)
        self._reader = reader
        self._lifecycle = lifecycle
        self._bucket: KeyValue | None = None

    async def join(self, run: RunKey, session_id: str, on_busy: OnBusy, who: str) -> tuple[HistoryPart, ...]:
        """The earlier runs that this one continues, the oldest first; from now on it is the newest."""
        name = f"{run.project}.{hashlib.sha256(session_id.encode()).hexdigest()}"
        for _ in range(MOST_CONFLICTS):
            entry, revision = await self._entry(name)
            earlier = await self._newest(run, entry)
            if earlier is not None:
                await self._make_way(RunKey(run.project, earlier.run_id), on_busy, who)
            before = earlier.run_id if earlier is not None else None
            if await self._replace(name, Entry(run_id=run.run_id, before=before), revision):
                return _history(earlier)
        raise Unavailable("many runs of the session start at once; try again")

    async def _newest(self, run: RunKey, entry: Entry | None) -> RunRequested | None:
        """The request of the newest run before this one that was really made and is not deleted."""
        if entry is None:
            return None
        for run_id in (entry.run_id, entry.before):
            if run_id is None or run_id == run.run_id:
                continue
            key = RunKey(run.project, run_id)
            last = await self._reader.last(key)
            if last is not None and last.is_deleted:
                continue
            if isinstance(job := await self._reader.job(key), RunRequested):
                return job
        return None

    async def _make_way(self, earlier: RunKey, on_busy: OnBusy, who: str) -> None:
        last = await self._reader.last(earlier)
        if last is not None and not ENDS.isdisjoint(last.kinds):
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


def _history(earlier: RunRequested | None) -> tuple[HistoryPart, ...]:
    if earlier is None:
        return ()
    return (*earlier.history, HistoryPart(run_id=earlier.run_id))[-MOST_RUNS:]
