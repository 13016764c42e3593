"""The loop of one run: decide what is next, do it, and break it off when the log has news or time is up."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from services.runner.decision import CallModel, Finish, Stop, Wait
from services.runner.journal import Journal
from services.runner.live import Feed
from services.runner.means import Means
from services.runner.performer import Performer
from services.runner.replay import Replay
from shared.errors import StudioError
from shared.model_request import JsonObject
from shared.step_codec import Undecodable
from shared.steps import Failure, RunStatus

log = structlog.get_logger(__name__)


class HandedBack(Exception):
    """The process stops: the run goes back to the queue after its current step."""


class Waiting(Exception):
    """The run waits for somebody, and says so in its log: whoever acts puts it back into the queue."""


class RunLoop:
    """Drives one claimed run to its end. `interrupt` and `hand_back` may be called from outside."""

    def __init__(
        self,
        journal: Journal,
        means: Means,
        feed: Feed,
        history: Sequence[JsonObject] = (),
        replay: Replay | None = None,
    ) -> None:
        self.journal = journal
        self._replay = replay
        self._performer = Performer(journal, means, feed, history)
        self._clock = means.clock
        self._feed = feed
        self._task: asyncio.Task[None] | None = None
        self._breakable = False
        self._interrupted = False
        self._cancelled = False
        self._handing_back = False
        self._looking: asyncio.Task[None] | None = None

    async def drive(self) -> None:
        """Until the run is finished and on disk.

        Raises Waiting, HandedBack, Fenced, Unavailable, Permanent.
        """
        self._task = asyncio.current_task()
        if self._replay is not None:
            await self._replay.open(self.journal, self._performer)
        if not self.journal.state.turns:
            self._performer.greet()
        try:
            async with asyncio.timeout(self._remaining_s()):
                await self._rounds()
        except TimeoutError:
            await self._time_out()
        finally:
            self._feed.close()
            if self._looking is not None:
                self._looking.cancel()

    def look(self) -> None:
        """Someone says that the log has news: read it beside the current step, and obey."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def interrupt(self) -> None:
        """Break off the current step; the loop takes in the log's news and decides again."""
        if self._interrupted or self._task is None or self._task.done():
            return
        self._interrupted = True
        if self._breakable:
            self._cancelled = True
            self._task.cancel()

    def hand_back(self) -> None:
        """Stop before the next call of the model."""
        self._handing_back = True

    async def _look(self) -> None:
        try:
            if await self.journal.has_news():
                self.interrupt()
        except (StudioError, Undecodable) as error:
            log.info("the log could not be looked at; the next append will", error=str(error))

    async def _rounds(self) -> None:
        while True:
            action = self._performer.next()
            if isinstance(action, Stop):
                return await self.journal.commit()
            if isinstance(action, Wait) and self.journal.state.waiting is not None:
                raise Waiting
            if self._handing_back and isinstance(action, CallModel):
                await self.journal.commit()
                raise HandedBack
            await self._unless_interrupted(self._performer.perform(action))
            if self._interrupted:
                self._interrupted = False
                await self.journal.refresh()

    async def _unless_interrupted(self, step: Coroutine[Any, Any, None]) -> None:
        """Do the step; a cancel that `interrupt` sent ends only the step, any other passes through."""
        self._breakable = True
        try:
            await step
        except asyncio.CancelledError:
            if not self._forget_own_cancel():
                raise
        else:
            self._forget_own_cancel()
        finally:
            self._breakable = False

    def _forget_own_cancel(self) -> bool:
        """Whether the only cancel of this task is our own, which is over now."""
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() == 0

    async def _time_out(self) -> None:
        limit = self.journal.request.timeout_s
        message = f"The run took longer than {limit:g} s (timeout_s)."
        if self.journal.state.finished is None:
            failure = Failure(type="timeout", message=message, retryable=True)
            await self._performer.finish(Finish(RunStatus.FAILED, failure))
        await self.journal.commit()

    def _remaining_s(self) -> float:
        """Of the run's time limit, without the time that it waited; a clock set back cannot prolong it."""
        limit, active_since = self.journal.request.timeout_s, self.journal.state.active_since
        if active_since is None:
            return limit
        gone = (self._clock() - active_since).total_seconds()
        return min(limit, max(0.0, limit - gone))
