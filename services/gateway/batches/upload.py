"""Taking in a batch: each line becomes a run that is on disk before it is acknowledged.

With an idempotency key the batch and each of its lines are found again, so that an upload that broke off is
simply repeated.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.gateway import reads
from services.gateway.backlog import store
from services.gateway.backlog.queue import Backlog
from services.gateway.backlog.store import BatchRow, Held
from services.gateway.batches.lines import MOST_LINES, Defaults, Line
from services.gateway.batches.views import LineAnswer
from services.gateway.idempotency import HEADER
from services.gateway.problems import BATCH_CANCELLED, KEY_REUSED, TOO_LARGE, Problem
from services.gateway.requests import RunInput
from shared.database import Database

log = structlog.get_logger(__name__)

CHUNK_LINES: Final = 100
CHUNK_BYTES: Final = 1024 * 1024

Prepare = Callable[[RunInput], Awaitable[Held]]
"""Resolves what a run names. Raises Problem: 422 for a fault of the run, 503 while it cannot be known."""


@dataclass
class Upload:
    """One upload of a batch; `answers` are those of the lines so far."""

    batch: BatchRow
    defaults: Defaults
    prepare: Prepare
    backlog: Backlog
    database: Database
    answers: list[LineAnswer] = field(default_factory=list)
    _held: list[Held] = field(default_factory=list, init=False)
    _sessions: set[str] = field(default_factory=set, init=False)

    async def take(self, lines: AsyncIterator[bytes]) -> None:
        """All lines. Raises Problem (413, 429, 503) and Unavailable; what was taken until then stays."""
        chunk: list[Line] = []
        size = count = 0
        async for text in lines:
            if count >= MOST_LINES:
                raise _too_many()
            chunk.append(Line(count, text))
            count, size = count + 1, size + len(text)
            if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES:
                await self._take(chunk)
                chunk, size = [], 0
        if chunk:
            await self._take(chunk)
        async with self.database.transaction() as connection:
            await store.set_size(connection, self.batch.id, count)

    async def _take(self, chunk: Sequence[Line]) -> None:
        known = await self._known(chunk)
        problems: dict[int, Problem] = {}
        for line in chunk:
            if line.index not in known:
                try:
                    await self._prepare(line)
                except Problem as problem:
                    if problem.kind.status >= 500:
                        raise
                    problems[line.index] = problem
                await asyncio.sleep(0)  # a batch is no reason for others to wait
        if len(known) < len(chunk):
            await self._hold()
            known = await self._known(chunk)  # another upload with the key may have been faster
        self.answers += [self._answer(line, known, problems) for line in chunk]

    async def _prepare(self, line: Line) -> None:
        asked = self.defaults.run(line)
        if asked.session_id in self._sessions:  # what it continues must be there first
            await self._hold()
        prepared = await self.prepare(asked)
        self._held.append(Held(prepared.key, prepared.job, line.index, line.digest))
        if asked.session_id is not None:
            self._sessions.add(asked.session_id)

    async def _hold(self) -> None:
        """Those that are prepared; none once the batch is cancelled."""
        await self.backlog.hold(self.batch.project, "batch", self._held, self.batch.id)
        self._held.clear()
        self._sessions.clear()

    async def _known(self, chunk: Sequence[Line]) -> Mapping[int, tuple[bytes, str]]:
        first, last = chunk[0].index, chunk[-1].index
        return await reads.answered(
            self.database, lambda connection: store.lines(connection, self.batch.id, first, last)
        )

    def _answer(
        self, line: Line, known: Mapping[int, tuple[bytes, str]], problems: Mapping[int, Problem]
    ) -> LineAnswer:
        batch_id = str(self.batch.id)
        if (problem := problems.get(line.index)) is None:
            digest, run_id = known.get(line.index, (b"", ""))
            if digest == line.digest:
                return LineAnswer(index=line.index, batch_id=batch_id, run_id=run_id)
            problem = _another_line(run_id) if digest else _cancelled()
        return LineAnswer(index=line.index, batch_id=batch_id, problem=problem.document)


def _another_line(run_id: str) -> Problem:
    return Problem(
        KEY_REUSED, f"another run came here with this {HEADER} before; use a new key", run_id=run_id
    )


def _cancelled() -> Problem:
    return Problem(BATCH_CANCELLED, "the batch was cancelled while it arrived; use a new key for a new one")


def _too_many() -> Problem:
    return Problem(
        TOO_LARGE,
        f"a batch has at most {MOST_LINES:,} runs; these are accepted, send the others as another batch",
        headers={"Connection": "close"},
    )
