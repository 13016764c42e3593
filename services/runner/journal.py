"""A run's journal: the state that the runner acts on, and the log behind it.

Steps count for the state as soon as they are recorded and are appended in the background, one append at
a time: what comes up while one is on its way travels in the next. `commit` waits until all of it is on
disk; the loop does so before anything that must not happen twice.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any, Protocol

import structlog

from services.runner.version import code_version
from shared.errors import Conflict, StudioError
from shared.run_log import LogRead, RunLog, Sealed
from shared.run_state import LogGap, RunState, fold
from shared.steps import (
    CancelRequested,
    MemorySnapshot,
    RunClaimed,
    RunDeleted,
    RunFinished,
    RunRequested,
    RunWaiting,
    Step,
    now,
)
from shared.subjects import RunKey

log = structlog.get_logger(__name__)
Draft = tuple[type[Any], Mapping[str, Any]]


class Writable(Protocol):
    """Where the steps of a run are written, as those see it who write them."""

    @property
    def state(self) -> RunState: ...

    @property
    def request(self) -> RunRequested: ...

    @property
    def attempt(self) -> int: ...

    def record(self, *drafts: Draft) -> None: ...

    async def commit(self) -> None: ...


class Fenced(StudioError):
    """Another runner holds the run, or it is over: nothing more may be written here."""


class Journal:
    """Records for one claim of one run.

    `interrupt` is called when the loop should look at the state again: another's cancel came first, or
    an append failed for good.
    """

    def __init__(
        self,
        run_log: RunLog,
        key: RunKey,
        read: LogRead,
        *,
        clock: Callable[[], datetime] = now,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = fold(read.steps)
        self.key = key
        self._log = run_log
        self._sequence = read.sequence
        self._clock = clock
        self._interrupt = interrupt
        self._attempt = self.state.attempt
        self._pending: list[Sealed] = []
        self._flushing: asyncio.Task[None] | None = None

    def claim(self, runner: str) -> None:
        self._attempt = self.state.attempt + 1
        self.record((RunClaimed, {"runner": runner, "version": code_version()}))

    @property
    def attempt(self) -> int:
        return self._attempt

    @property
    def request(self) -> RunRequested:
        """Step 0. Raises LogGap when the log does not begin with it."""
        if self.state.request is None:
            raise LogGap(f"run {self.key.run_id} does not begin with its request")
        return self.state.request

    def record(self, *drafts: Draft) -> None:
        """Take in steps that belong together: they reach the log in one message, or not at all.

        A draft is a kind of step and its own fields; sequence, time and writer are set here.
        """
        self._raise_if_failed()
        steps = [self._stamp(kind, fields, offset) for offset, (kind, fields) in enumerate(drafts)]
        sealed = self._log.seal(steps)
        for step in sealed.steps:
            self.state.apply(step)
        self._pending.append(sealed)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name=f"journal {self.key.run_id}")
            self._flushing.add_done_callback(self._flushed)

    async def commit(self) -> None:
        """Wait until everything recorded is on disk. Raises Fenced, Unavailable or Permanent."""
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def refresh(self) -> None:
        """Take in what others appended since. Raises Fenced, Unavailable or Permanent."""
        await self.commit()
        read = await self._log.read(self.key, after=self._sequence, fresh=True)
        is_over = any(isinstance(step, RunFinished | RunDeleted) for step in read.steps)
        self._stop_if_fenced(read.steps, is_over=is_over)
        for step in read.steps:
            self.state.apply(step)
        self._sequence = max(self._sequence, read.sequence)

    async def has_news(self) -> bool:
        """Whether the log holds steps of others that this claim has to obey. Raises Unavailable."""
        read = await self._log.read(self.key, after=self._sequence, fresh=True)
        return any(
            step.writer != self._log.writer
            and isinstance(step, CancelRequested | RunClaimed | RunFinished | RunDeleted)
            for step in read.steps
        )

    def abandon(self) -> None:
        """Stop writing; what is not on disk is lost to this claim."""
        if self._flushing is not None:
            self._flushing.cancel()

    def _flushed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._interrupt()

    def _raise_if_failed(self) -> None:
        if self._flushing is None or not self._flushing.done() or self._flushing.cancelled():
            return
        if (error := self._flushing.exception()) is not None:
            raise error

    def _stamp(self, kind: type[Any], fields: Mapping[str, Any], offset: int) -> Step:
        step: Step = kind(
            run_id=self.key.run_id,
            project=self.key.project,
            seq=self.state.next_seq + offset,
            at=self._clock(),
            attempt=self._attempt,
            writer=self._log.writer,
            traceparent=self.request.traceparent,
            **fields,
        )
        return step

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = reduce(add, self._pending), []
            try:
                self._sequence = await self._log.append(self.key, batch, self._sequence)
            except Conflict:
                await self._rebase(batch)

    async def _rebase(self, batch: Sealed) -> None:
        """Someone else appended first: put what is not stored yet behind it.

        What was recorded are facts (a paid answer of the model), so they are kept, unless another runner
        has taken the run over or it is finished: then this claim is fenced off.
        """
        read = await self._log.read(self.key, fresh=True)
        stored = fold(read.steps)
        self._stop_if_fenced(read.steps, is_over=stored.finished is not None or stored.deleted)
        cancelled = stored.cancel is not None and self.state.cancel is None
        unsaved = [*batch.steps, *(step for sealed in self._pending for step in sealed.steps)]
        # What the run was about to wait for may just have come: that is decided again.
        unsaved = [step for step in unsaved if not isinstance(step, RunWaiting)]
        have = {step.seq for step in read.steps if step.writer == self._log.writer and step.seq > 0}
        fresh = [step for step in unsaved if not _is_stored(step, read.steps, have)]
        places = {step.seq: place for place, step in enumerate(fresh, start=stored.next_seq)}
        moved = [_moved(step, places) for step in fresh]
        self._sequence = read.sequence
        sealed = self._log.seal(moved)
        for step in sealed.steps:
            stored.apply(step)
        self.state = stored
        self._pending = [sealed] if sealed.steps else []
        log.info("journal rebased", run_id=self.key.run_id, steps=len(moved))
        if cancelled:
            self._interrupt()

    def _stop_if_fenced(self, steps: Sequence[Step], *, is_over: bool) -> None:
        taken = any(
            isinstance(step, RunClaimed) and step.writer != self._log.writer and step.attempt >= self._attempt
            for step in steps
        )
        if is_over or taken:
            raise Fenced(f"run {self.key.run_id} is over or held by another runner")


def _moved(step: Step, places: Mapping[int, int]) -> Step:
    """The step at its new place; what the working memory refers to may have moved with it."""
    changes: dict[str, Any] = {"seq": places[step.seq]}
    if isinstance(step, MemorySnapshot) and isinstance(memory := step.memory, dict):
        told: Any = memory.get("messages", [])
        messages = [{**message, "seq": places.get(message["seq"], message["seq"])} for message in told]
        changes["memory"] = {**memory, "messages": messages}
    return step.model_copy(update=changes)


def _is_stored(step: Step, stored: Sequence[Step], own: set[int]) -> bool:
    """Whether this very step is in the log already: its acknowledgement was lost."""
    return step.seq in own and step in stored
