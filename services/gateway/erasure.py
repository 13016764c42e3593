"""Deleting runs: gone for every reader at once, and erased as soon as those who must read them have done so.

A deletion is a row in Postgres first; any gateway takes it from there. The run's log is told, the cost
service counts what the run cost, the recorder takes it out of its tables; only then are the steps erased from
the broker, and the row goes; the runs that answered the run's calls, and those that verified it, take its
place. Every part may be repeated, so a gateway that stops in between loses nothing.
"""

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from prometheus_client import Counter

from services.gateway import reads, store
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import LogReader
from services.gateway.problems import NOT_FOUND, Problem, no_such_run
from services.gateway.store import DeletionRow
from shared.bus import COST, RECORDER, jetstream
from shared.database import Database
from shared.errors import StudioError, Unavailable
from shared.run_log import RunLog
from shared.step_codec import Undecodable
from shared.steps import RunDeleted, now
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 2.0
LOOK_S: Final = 0.01
EVERY_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 30.0
LEASE: Final = timedelta(seconds=15)
"""What a gateway that stopped in between had begun comes back after it; two at once do no harm."""
MOST_AT_ONCE: Final = 16
READERS: Final = (RECORDER, COST)
ERASED: Final = Counter("studio_gateway_runs_erased_total", "Deleted runs whose content left the broker.")


class Erasure:
    def __init__(
        self, client: Client, run_log: RunLog, reader: LogReader, lifecycle: Lifecycle, database: Database
    ) -> None:
        self._js = jetstream(client)
        self._log = run_log
        self._reader = reader
        self._lifecycle = lifecycle
        self._database = database
        self._asked = asyncio.Event()

    async def delete(self, run: RunKey, who: str) -> bool:
        """No reader sees the run any more; whether all of its content is erased already.

        Raises Problem (404, 409) and Unavailable.
        """
        await self._lifecycle.require_final(run)
        if not await reads.answered(
            self._database, lambda connection: store.add_deletion(connection, run, who)
        ):
            raise no_such_run(run.run_id)
        self._asked.set()
        return await self._has_ended(run)

    async def run(self) -> None:
        """Until cancelled: erase what is due, here or left by a gateway that stopped."""
        while True:
            self._asked.clear()
            pause_s = await self._round()
            try:
                async with asyncio.timeout(pause_s):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """One try for each deletion that is due; returns for how many seconds there is nothing to do."""
        try:
            async with self._database.transaction() as connection:
                due = await store.claim_deletions(connection, MOST_AT_ONCE, LEASE)
        except StudioError as error:
            log.info("deleted runs wait for the database", error=str(error))
            return EVERY_S
        pauses = await asyncio.gather(*(self._try(deletion) for deletion in due))
        return 0 if len(due) == MOST_AT_ONCE else min(pauses, default=EVERY_S)

    async def _try(self, deletion: DeletionRow) -> float:
        """Returns for how many seconds the next look can wait."""
        run, is_erased = deletion.run, False
        try:
            is_erased = await self._erase(run, deletion.who)
        except (StudioError, Undecodable) as error:
            log.warning("a deleted run is not erased yet", run_id=run.run_id, error=str(error))
        pause_s = EVERY_S if is_erased else _pause_s(deletion.tries)
        try:
            async with self._database.transaction() as connection:
                if is_erased:
                    self._asked.set()
                    await store.end_deletion(connection, run, deletion.who)
                else:
                    await store.postpone_deletion(connection, run, timedelta(seconds=pause_s))
        except StudioError as error:  # the lease bounds when it is tried again
            log.info("the state of a deletion was not noted", run_id=run.run_id, error=str(error))
        ERASED.inc(is_erased)
        return min(pause_s, EVERY_S)

    async def _erase(self, run: RunKey, who: str) -> bool:
        if not await self._all_have_read(await self._deleted_at(run, who)):
            return False
        await self._log.announce_end(run, self._deletion(run, who))  # of replays that quote it
        await self._log.purge(run)
        return True

    def _deletion(self, run: RunKey, who: str) -> RunDeleted:
        envelope = {"run_id": run.run_id, "project": run.project, "seq": 0, "at": now()}
        return RunDeleted(**envelope, writer=self._log.writer, who=who)

    async def _deleted_at(self, run: RunKey, who: str) -> int:
        """Where in the stream the run's deletion is; 0 when the stream has forgotten it."""
        last = await self._reader.last(run)
        if last is not None and last.is_deleted:
            return last.sequence
        try:
            return await self._lifecycle.append_deletion(run, who)
        except Problem as problem:
            if problem.kind is NOT_FOUND:
                return 0
            raise Unavailable(str(problem)) from problem

    async def _all_have_read(self, sequence: int) -> bool:
        for reader in READERS:
            try:
                info = await self._js.consumer_info(reader.stream, reader.name)
            except (NatsError, OSError) as error:
                raise Unavailable(f"the consumer {reader.name} is not known: {error}") from error
            if info.ack_floor is None or info.ack_floor.stream_seq < sequence:
                return False
        return True

    async def _has_ended(self, run: RunKey) -> bool:
        deadline, pause_s = monotonic() + PATIENCE_S, LOOK_S
        while monotonic() < deadline:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.2)
            if not await reads.answered(
                self._database, lambda connection: store.is_being_deleted(connection, run)
            ):
                return True
        return False


def _pause_s(tries: int) -> float:
    return min(FIRST_PAUSE_S * 1.5 ** min(tries, 50), LONGEST_PAUSE_S)
