"""Putting a run's log back into the broker, which forgets after a week, from Postgres, which does not.

What the broker still has of the log is erased first, unless it is a beginning that stays, and never before
Postgres has it too. The steps follow with compare-and-set, each message naming the seq up to which the log
must reach, and the job comes last. So two gateways put the log back once, a reader can tell half of it from
the whole, and what a crash leaves is completed by the next try.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from services.gateway import reads
from services.gateway.log_reader import LogReader, is_old, lasts
from services.gateway.problems import DatabaseAway, no_such_run
from shared.database import Connection, Database
from shared.errors import Conflict, Unavailable
from shared.payload import INLINE_LIMIT
from shared.run_log import FIRST_CAUSES, RunLog, Sealed
from shared.step_codec import decode_steps
from shared.steps import RunDeleted
from shared.stored import sequence_of
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

PAGE_STEPS: Final = 500
MOST_OF_A_TREE: Final = 1000
MOST_CONFLICTS: Final = 50
CONFLICT_PAUSE_S: Final = 0.02
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Left:
    """What the broker has of a log; `is_beginning`: its first steps without a gap, and they stay."""

    sequences: tuple[int, ...]
    next_seq: int
    is_beginning: bool


class Restoration:
    """Methods raise Problem (404) for a run that was deleted, and Unavailable."""

    def __init__(self, run_log: RunLog, reader: LogReader, database: Database) -> None:
        self._log = run_log
        self._reader = reader
        self._database = database

    async def put_back(self, run: RunKey, root: RunKey) -> None:
        """Have the run's log and job in the broker, for as long as the run may work from now on; and those of
        the waiting runs of its tree, which its runner will look for."""
        tree = await self._read(lambda connection: reads.waiting_of_tree(connection, root, MOST_OF_A_TREE))
        for each in [*(other for other in tree if other != run and is_old(other)), run]:
            await self._put_back(each)

    async def _put_back(self, run: RunKey) -> None:
        for _ in range(MOST_CONFLICTS):
            try:
                await self._complete(run)
            except Conflict:  # another gateway is at it
                await asyncio.sleep(CONFLICT_PAUSE_S)
            else:
                return
        raise Unavailable("others wrote to the run's log all the time; try again")

    async def _complete(self, run: RunKey) -> None:
        """One try. Raises Conflict when somebody else wrote to the log meanwhile."""
        until = await self._read(lambda connection: reads.recorded_until(connection, run))
        left, has_job = await self._left(run), await self._reader.job(run) is not None
        after, position = left.next_seq - 1, max(left.sequences, default=0)
        if left.is_beginning and has_job and until is not None and after >= until:
            return  # another gateway has done it
        if until is None or until < 0 or (after > until and not left.is_beginning):
            raise DatabaseAway("Postgres does not have all steps of the run yet")
        if not left.is_beginning:
            await self._log.erase(left.sequences)
            after = position = 0
        await self._put_bodies(run)
        async for texts in self._chunks(run, after):
            steps = tuple(decode_steps(b"[" + b",".join(texts) + b"]"))
            position = await self._log.append(run, Sealed(steps, texts, until), position)
        request = await self._texts(run, -1, 1)
        cause = f"restored:{position}" if until > 0 else FIRST_CAUSES[0]
        await self._log.requeue(run, cause=cause, job=b"[" + request[0] + b"]")
        log.info("a run's log was put back", run_id=run.run_id, until=until)

    async def _left(self, run: RunKey) -> _Left:
        sequences: list[int] = []
        next_seq, is_beginning = 1, True
        async for messages in self._reader.messages(run):
            sequences += map(sequence_of, messages)
            is_beginning = is_beginning and lasts(messages[0])
            for step in (step for message in messages for step in decode_steps(message.data)):
                if isinstance(step, RunDeleted):
                    raise no_such_run(run.run_id)
                is_beginning = is_beginning and step.seq == next_seq
                next_seq = step.seq + 1
        return _Left(tuple(sequences), next_seq, is_beginning)

    async def _put_bodies(self, run: RunKey) -> None:
        """The large values; one that Postgres has not the runner will miss, and say so in the log."""
        for sha256 in await self._read(lambda connection: reads.body_names(connection, run)):
            body = await self._body(run, sha256)
            if body is None:
                log.error("a body of a run is gone", run_id=run.run_id, sha256=sha256)
            else:
                await self._log.bodies.put(run.project, body)

    async def _body(self, run: RunKey, sha256: str) -> bytes | None:
        return await self._read(lambda connection: reads.body(connection, run, sha256))

    async def _chunks(self, run: RunKey, after: int) -> AsyncIterator[tuple[bytes, ...]]:
        """The steps behind seq `after`, as many at a time as fit into a message without being changed."""
        chunk: list[bytes] = []
        size = 0
        while texts := await self._texts(run, after, PAGE_STEPS):
            after += len(texts)
            for text in texts:
                size += len(text) + 1
                if chunk and size >= INLINE_LIMIT:
                    yield tuple(chunk)
                    chunk, size = [], len(text) + 1
                chunk.append(text)
        if chunk:
            yield tuple(chunk)

    async def _texts(self, run: RunKey, after: int, limit: int) -> list[bytes]:
        found = await self._read(lambda connection: reads.step_texts(connection, run, after, limit))
        return [step.text for step in found]

    async def _read(self, read: Callable[[Connection], Awaitable[Result]]) -> Result:
        return await reads.answered(self._database, read)
