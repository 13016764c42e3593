"""From a job to the end of its run: read the log, claim the run, drive it; or end it where it cannot go on.

What becomes of the job afterwards is decided in `worker`.
"""

from typing import Final

from services.runner.conversation import messages_of
from services.runner.decision import Wait, next_action
from services.runner.ending import ending
from services.runner.job import Job
from services.runner.journal import Journal
from services.runner.live import LiveFeed
from services.runner.loop import HandedBack, RunLoop, Waiting
from services.runner.means import Means
from services.runner.model import JsonObject
from shared.bodies import BodyMissing
from shared.errors import Unavailable
from shared.run_log import LogRead, RunLog
from shared.run_state import LogGap, fold
from shared.service import Runtime
from shared.steps import Failure, RunRequested, RunStatus, decode_steps
from shared.subjects import RunKey

FIRST_LOOK_S: Final = 0.1
LONGEST_LOOK_S: Final = 5.0
BODY_READS: Final = 5
"""How often a missing body is looked for: a replica may be behind, and does not say so."""


class NotYet(Exception):
    """Another run of the session must end first; `delay_s`: when to look again."""

    def __init__(self, delay_s: float) -> None:
        super().__init__("an earlier run of the session goes on")
        self.delay_s = delay_s


class Driver:
    def __init__(self, runtime: Runtime, run_log: RunLog, means: Means, *, max_attempts: int) -> None:
        self._client = runtime.client
        self._scrubber = runtime.scrubber
        self._log = run_log
        self._means = means
        self._max_attempts = max_attempts
        self.runner = f"{runtime.name}-{run_log.writer}"

    async def drive(self, job: Job) -> None:
        """Until the run is over. Raises HandedBack, Waiting, NotYet, Fenced, Conflict or Unavailable when
        another claim has to go on, Permanent or BodyMissing when none can, Undecodable or LogGap when nobody
        knows how.
        """
        journal = self._journal(job, await self._read(job))
        if not journal.state.finished and not journal.state.deleted:
            await self._go_on(job, journal)
        await self._tell_parent(journal)

    async def _go_on(self, job: Job, journal: Journal) -> None:
        if job.leaving:
            raise HandedBack
        if _still_waits(journal):
            raise Waiting
        history = await self._history(journal.request, job)
        redelivered = journal.state.next_seq > 1
        journal.claim(self.runner)
        if redelivered:
            await journal.commit()  # another runner may still be at it: be sure before anything is paid
        if (claims := journal.state.fruitless_claims) > self._max_attempts:
            message = f"The run was claimed {claims - 1} times in a row and came no further."
            await self._end(journal, Failure(type="too-many-attempts", message=message))
            return
        feed = LiveFeed(self._client, job.key, self._scrubber)
        job.loop = RunLoop(journal, self._means, feed, history)
        if job.leaving:
            job.loop.hand_back()
        try:
            await job.loop.drive()
        finally:
            journal.abandon()

    async def fail(self, job: Job, failure: Failure) -> None:
        """End a run that cannot go on; its large values need not be there. Raises as `drive` does."""
        journal = self._journal(job, await self._log.read(job.key, inflate=False))
        if journal.state.finished is None and not journal.state.deleted:
            await self._end(journal, failure)
        await self._tell_parent(journal)

    async def _tell_parent(self, journal: Journal) -> None:
        if self._means.family is not None:
            await self._means.family.tell_parent(journal.state)

    async def _history(self, request: RunRequested, job: Job) -> list[JsonObject]:
        """The conversation of the session's earlier runs, of which the last may still have to end."""
        messages: list[JsonObject] = []
        for part in request.history:
            if isinstance(part.messages, list):
                messages += [message for message in part.messages if isinstance(message, dict)]
                continue
            try:
                earlier = fold((await self._log.read(RunKey(request.project, part.run_id))).steps)
            except LogGap:  # its beginning has left the broker
                continue
            if earlier.request is not None and not earlier.finished and not earlier.deleted:
                raise NotYet(min(FIRST_LOOK_S * job.delivered, LONGEST_LOOK_S))
            if earlier.finished and earlier.finished.status is RunStatus.COMPLETED:
                messages += messages_of(earlier.turns)
        return messages

    async def _end(self, journal: Journal, failure: Failure) -> None:
        journal.record(*ending(journal.state, self._means.clock(), RunStatus.FAILED, failure))
        await journal.commit()

    def _journal(self, job: Job, read: LogRead) -> Journal:
        return Journal(self._log, job.key, read, clock=self._means.clock, interrupt=job.interrupt)

    async def _read(self, job: Job) -> LogRead:
        """A first delivery has no log yet, which the first append proves; others are read whole."""
        if job.is_first and b'"$body"' not in job.message.data:
            return LogRead(tuple(decode_steps(job.message.data)), 0)
        try:
            return await self._log.read(job.key, fresh=True)
        except BodyMissing as error:
            if job.delivered < BODY_READS:
                raise Unavailable(str(error)) from error
            raise


def _still_waits(journal: Journal) -> bool:
    """Whether nothing has come of what the run said it waits for: then this is an old delivery of its job."""
    waiting = journal.state.waiting
    action = next_action(journal.state, attempt=journal.attempt)
    return waiting is not None and isinstance(action, Wait) and action.call_id == waiting.call_id
