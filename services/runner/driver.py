"""From a job to the end of its run: read the log, claim the run, drive it; or end it where it cannot go on.

What becomes of the job afterwards is decided in `worker`.
"""

from typing import Final

from services.runner.ending import ending
from services.runner.job import Job
from services.runner.journal import Journal
from services.runner.live import LiveFeed
from services.runner.loop import HandedBack, RunLoop
from services.runner.performer import Means
from shared.bodies import BodyMissing
from shared.errors import Unavailable
from shared.run_log import LogRead, RunLog
from shared.service import Runtime
from shared.steps import Failure, RunStatus, decode_steps

BODY_READS: Final = 5
"""How often a missing body is looked for: a replica may be behind, and does not say so."""


class Driver:
    def __init__(self, runtime: Runtime, run_log: RunLog, means: Means, *, max_attempts: int) -> None:
        self._client = runtime.client
        self._scrubber = runtime.scrubber
        self._log = run_log
        self._means = means
        self._max_attempts = max_attempts
        self.runner = f"{runtime.name}-{run_log.writer}"

    async def drive(self, job: Job) -> None:
        """Until the run is over. Raises HandedBack, Fenced, Conflict or Unavailable when another claim has to
        go on, Permanent or BodyMissing when none can, Undecodable or LogGap when nobody knows how.
        """
        journal = self._journal(job, await self._read(job))
        if journal.state.finished or journal.state.deleted:
            return
        if job.leaving:
            raise HandedBack
        redelivered = journal.state.next_seq > 1
        journal.claim(self.runner)
        if redelivered:
            await journal.commit()  # another runner may still be at it: be sure before anything is paid
        if journal.attempt > self._max_attempts:
            message = f"The run was claimed {journal.attempt - 1} times and never came to its end."
            await self._end(journal, Failure(type="too-many-attempts", message=message))
            return
        job.loop = RunLoop(journal, self._means, LiveFeed(self._client, job.key, self._scrubber))
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

    async def _end(self, journal: Journal, failure: Failure) -> None:
        journal.record(*ending(journal.state, self._means.clock(), RunStatus.FAILED, failure))
        await journal.commit()

    def _journal(self, job: Job, read: LogRead) -> Journal:
        return Journal(self._log, job.key, read, clock=self._means.clock, interrupt=job.interrupt)

    async def _read(self, job: Job) -> LogRead:
        """A first delivery has no log yet, which the first append proves; others are read whole."""
        if job.delivered == 1 and b'"$body"' not in job.message.data:
            return LogRead(tuple(decode_steps(job.message.data)), 0)
        try:
            return await self._log.read(job.key, fresh=True)
        except BodyMissing as error:
            if job.delivered < BODY_READS:
                raise Unavailable(str(error)) from error
            raise
