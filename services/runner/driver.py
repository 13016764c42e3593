"""From a job to the end of its run: read the log, claim the run, drive it; or end it where it cannot go on.

What becomes of the job afterwards is decided in `worker`.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.runner.decision import Wait, next_action
from services.runner.ending import ending
from services.runner.job import Job
from services.runner.journal import Journal
from services.runner.live import LiveFeed
from services.runner.loop import HandedBack, RunLoop, Waiting
from services.runner.means import Means
from services.runner.replay import Replay, SourceGone
from shared.bodies import BodyMissing
from shared.bus import RETENTION_S
from shared.earlier_runs import as_told, said
from shared.errors import Unavailable
from shared.fork import CannotFork
from shared.model_request import JsonObject
from shared.run_log import AGAIN_HEADER, LogRead, RunLog
from shared.run_state import LogGap, RunState
from shared.service import Runtime
from shared.step_codec import decode_steps
from shared.steps import Failure, RunDeleted, RunRequested, RunStatus, Step
from shared.subjects import RunKey

FIRST_LOOK_S: Final = 0.1
LONGEST_LOOK_S: Final = 5.0
READS: Final = 5
"""How often a log is read that lacks steps or a large value: a replica may be behind, and does not say so, or
a gateway is putting back what the broker has lost."""


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
        journal = await self._whole(job)
        if not journal.state.finished and not journal.state.deleted:
            await self._go_on(job, journal)
        await self._tell_of_end(journal)

    async def _go_on(self, job: Job, journal: Journal) -> None:
        if job.leaving:
            raise HandedBack
        if _still_waits(journal):
            raise Waiting
        history: Sequence[JsonObject] = ()
        if journal.state.cancel is None and journal.request.replay is None:
            history = await self._history(journal.request, job, journal.state.started_at)
        redelivered = journal.state.next_seq > 1 or job.delivered > 1
        journal.claim(self.runner)
        if redelivered:
            await journal.commit()  # another runner may still be at it: be sure before anything is paid
        if (claims := journal.state.fruitless_claims) > self._max_attempts:
            message = f"The run was claimed {claims - 1} times in a row and came no further."
            await self._end(journal, Failure(type="too-many-attempts", message=message))
            return
        try:
            await self._play(job, journal, history)
        except (SourceGone, CannotFork) as error:
            await self._end(journal, Failure(type=_kind_of(error), message=str(error)))
        finally:
            journal.abandon()

    async def _play(self, job: Job, journal: Journal, history: Sequence[JsonObject]) -> None:
        replay = await self._replay(journal, job)
        if replay is not None:
            history = await self._history(journal.request, job, replay.told_at)
        if replay is not None and replay.is_rehearsal:
            await replay.verify(journal, self._means, history, self._scrubber)
            return
        means = self._means if replay is None else dataclasses.replace(self._means, answers=replay.answers)
        feed = LiveFeed(self._client, job.key, self._scrubber)
        job.loop = RunLoop(journal, means, feed, history, replay)
        if job.leaving:
            job.loop.hand_back()
        await job.loop.drive()

    async def _replay(self, journal: Journal, job: Job) -> Replay | None:
        """What the run replays, if it does. Raises SourceGone, CannotFork, Unavailable."""
        plan = journal.request.replay
        if plan is None or journal.state.cancel is not None:
            return None
        key = RunKey(job.key.project, plan.source_run_id)
        try:
            return Replay(plan, (await self._log.read(key, fresh=True)).steps)
        except (BodyMissing, LogGap) as error:
            if job.delivered < READS:
                raise Unavailable(str(error)) from error
            raise SourceGone(f"The log of the run {key.run_id} is not whole: {error}") from error

    async def fail(self, job: Job, failure: Failure) -> None:
        """End a run that cannot go on; its large values need not be there. Raises as `drive` does."""
        journal = self._journal(job, await self._log.read(job.key, inflate=False))
        if journal.state.finished is None and not journal.state.deleted:
            await self._end(journal, failure)
        await self._tell_of_end(journal)

    async def _tell_of_end(self, journal: Journal) -> None:
        """Those who wait for it; before the job is settled, so that a crash cannot lose it."""
        if self._means.family is not None:
            await self._means.family.tell_parent(journal.state)
        request, end = journal.state.request, journal.state.finished
        plan = request.replay if request is not None else None
        if plan is not None and plan.replay_id is not None and end is not None:
            await self._log.announce_end(journal.key, end)

    async def _history(self, request: RunRequested, job: Job, began: datetime | None) -> list[JsonObject]:
        """The conversation of the session's earlier runs, as they were when the run began; before that, the
        last of them may still have to end. Raises SourceGone in a replay, which needs all that was told."""
        told: list[Sequence[JsonObject]] = []
        for part in reversed(request.history):  # the last one first: a run that has to wait reads no other
            if isinstance(part.messages, list):
                told.append([message for message in part.messages if isinstance(message, dict)])
                continue
            key = RunKey(request.project, part.run_id)
            try:
                steps = (await self._log.read(key)).steps
                earlier = as_told(steps, began)
            except LogGap:  # its beginning has left the broker, or is still to come
                steps, earlier = (), RunState()
            if request.replay is not None and began is not None and _was_deleted(steps, began):
                raise SourceGone(f"What was said before, in the run {part.run_id}, was deleted.")
            is_open = not earlier.finished if earlier.request is not None else self._may_come(key)
            if is_open and not earlier.deleted:
                raise NotYet(min(FIRST_LOOK_S * job.delivered, LONGEST_LOOK_S))
            told.append(said(earlier))
        return [message for messages in reversed(told) for message in messages]

    def _may_come(self, run: RunKey) -> bool:
        """Of a run that the broker does not have: accepted so lately, it waits elsewhere for its turn."""
        return self._means.clock() - run.accepted_at < timedelta(seconds=RETENTION_S)

    async def _end(self, journal: Journal, failure: Failure) -> None:
        journal.record(*ending(journal.state, self._means.clock(), RunStatus.FAILED, failure))
        await journal.commit()

    def _journal(self, job: Job, read: LogRead) -> Journal:
        return Journal(self._log, job.key, read, clock=self._means.clock, interrupt=job.interrupt)

    async def _whole(self, job: Job) -> Journal:
        try:
            return self._journal(job, await self._read(job))
        except (BodyMissing, LogGap) as error:
            if job.delivered < READS:
                raise Unavailable(str(error)) from error
            raise

    async def _read(self, job: Job) -> LogRead:
        """A first delivery has no log yet, which the first append proves; others are read whole."""
        if AGAIN_HEADER not in (job.message.headers or {}) and not self._may_come(job.key):
            raise LogGap(
                "this run's job was given up once, and its log may have left the broker since; "
                "cancel, resume or retry the run instead"
            )
        if job.is_first and b'"$body"' not in job.message.data:
            return LogRead(tuple(decode_steps(job.message.data)), 0)
        return await self._log.read(job.key, fresh=True)


def _kind_of(error: SourceGone | CannotFork) -> str:
    return "source-gone" if isinstance(error, SourceGone) else "cannot-fork"


def _was_deleted(earlier: Sequence[Step], later_began: datetime) -> bool:
    """Whether what a later run was told is gone since."""
    return not earlier or (isinstance(earlier[-1], RunDeleted) and earlier[-1].at > later_began)


def _still_waits(journal: Journal) -> bool:
    """Whether nothing has come of what the run said it waits for: then this is an old delivery of its job."""
    waiting = journal.state.waiting
    action = next_action(journal.state, attempt=journal.attempt)
    return waiting is not None and isinstance(action, Wait) and action.call_id == waiting.call_id
