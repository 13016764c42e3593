"""A run's log: append with compare-and-set, and read.

The log of a run is one literal subject of the stream RUNS; step 0, the job, is on a subject of its own.
Each append is one message that holds all the steps that belong together, so it is atomic, and it names
the last sequence of the subject that the writer has seen: whoever is behind loses and must read again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Final
from uuid import uuid4

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from shared.bodies import BodyStore
from shared.bus import DEAD, KINDS_HEADER, RUNS, WORK, jetstream
from shared.errors import Conflict, Permanent, Unavailable
from shared.payload import Payloads
from shared.run_state import LogGap
from shared.scrub import Scrubber
from shared.step_codec import decode_steps, encode_step
from shared.steps import RunDeleted, RunFinished, Step
from shared.stored import last_stored, sequence_of, stored_messages
from shared.subjects import RunKey, dead_subject, ended_subject, job_subject, log_subject, redo_subject

WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
NO_SUCH_MESSAGE: Final = frozenset({10043, 10057})
ACK_WAIT_S: Final = 5.0  # then the message is sent again
AGAIN_HEADER: Final = "Run-Again"
"""Header of a job that was put back into the queue: why."""
FIRST_CAUSES: Final = ("queued", "sweep:")
"""Why a job may be put into the queue of whose run nothing else is stored yet."""
UNTIL_HEADER: Final = "Log-Until"
"""Header of a message of a log that was put back: the seq up to which the log must reach to be whole."""
STREAM_FULL: Final = frozenset({10047, 10077, 10122})


@dataclass(frozen=True)
class Sealed:
    """Steps as the log holds them, and the text of each: what `seal` makes and `append` takes.

    `until`: they are a part of a log that is put back, which reaches up to this seq.
    """

    steps: tuple[Step, ...]
    encoded: tuple[bytes, ...]
    until: int | None = None

    def __add__(self, other: "Sealed") -> "Sealed":
        return Sealed(self.steps + other.steps, self.encoded + other.encoded)


@dataclass(frozen=True)
class LogRead:
    """The steps of a run in order; `sequence` is the last of the log's subject, 0 when it is empty."""

    steps: tuple[Step, ...]
    sequence: int


class _Unanswered(Exception):
    """No acknowledgement came; the message may be stored or not."""


class JobGone(Unavailable):
    """The run was deleted, or it is older than what the broker keeps."""


class RunLog:
    """Reads and appends as one writer. `writer` must be unique to this process."""

    def __init__(self, client: Client, scrubber: Scrubber, *, writer: str | None = None) -> None:
        self._client = client
        self._js = jetstream(client)
        self._scrubber = scrubber
        self.bodies = BodyStore(client)
        self._payloads = Payloads(self.bodies)
        self.writer = writer or uuid4().hex[:12]

    def seal(self, steps: Sequence[Step]) -> Sealed:
        """Scrub and encode. What the writer goes on with must be `sealed.steps`, not what it gave."""
        pairs = [self._scrubber.step(step) for step in steps]
        return Sealed(tuple(step for step, _ in pairs), tuple(text for _, text in pairs))

    async def request(self, run: RunKey, sealed: Sealed, *, patience_s: float = 5.0) -> None:
        """Put step 0 into the queue. Repeating it is harmless; raises Conflict if another is there."""
        await self._publish(job_subject(run), run, sealed, 0, patience_s)

    async def requeue(self, run: RunKey, *, cause: str, job: bytes | None = None) -> None:
        """Put the run's job into the queue once more, for it to go on; once for each cause.

        Harmless when a runner has it: claims are fenced. `job` is the job where the broker has lost it.
        Raises JobGone without it then, Unavailable when the broker is away.
        """
        if job is None:
            stored = await last_stored(self._client, RUNS, job_subject(run))
            if stored is None:
                raise JobGone(f"the broker has no job of run {run.run_id}")
            job = stored.data
        headers = {
            Header.MSG_ID: f"again:{run.run_id}:{cause}",
            KINDS_HEADER: "run-requested",
            AGAIN_HEADER: cause,
        }
        try:
            await self._js.publish(job_subject(run), job, stream=RUNS, headers=headers)
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker did not take a job: {error or type(error).__name__}") from error

    async def announce_end(self, run: RunKey, end: RunFinished | RunDeleted) -> None:
        """Tell those who wait for the end of this very run, who need not read the logs of all; once for each
        end, and nothing of what was said in it. Raises Unavailable."""
        end = end.model_copy(update={"error": None}) if isinstance(end, RunFinished) else end
        headers = {Header.MSG_ID: f"ended:{run.run_id}:{end.seq}:{end.kind}", KINDS_HEADER: end.kind}
        payload = b"[" + encode_step(end) + b"]"
        try:
            await self._js.publish(ended_subject(run), payload, stream=WORK, headers=headers)
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker did not take the end of a run: {error}") from error

    async def append(self, run: RunKey, sealed: Sealed, expected: int, *, patience_s: float = 30.0) -> int:
        """Append the steps after sequence `expected` (0: nothing yet); returns the new last sequence.

        Raises Conflict when the log has moved on, Unavailable when the broker did not acknowledge within
        `patience_s` seconds (the steps may be stored nevertheless: read before deciding), Permanent when
        the steps cannot be stored at all.
        """
        return await self._publish(log_subject(run), run, sealed, expected, patience_s)

    async def read(
        self, run: RunKey, *, after: int = 0, fresh: bool = False, inflate: bool = True
    ) -> LogRead:
        """The steps after stream sequence `after`, step 0 first when `after` is 0.

        `fresh` asks the stream's leader for the end of the log, since a follower's answer may be old. Without
        `inflate` large values stay references. Raises LogGap when the broker has lost all but the job, and
        Unavailable while the log is being put back.
        """
        subject = log_subject(run)
        last = await self._last_sequence(subject) if fresh else 0
        steps: list[Step] = []
        sequence, until = after, 0
        job = await last_stored(self._client, RUNS, job_subject(run)) if after == 0 else None
        if job is not None:
            steps += await self._steps(run, job.data, inflate)
        async for message in stored_messages(self._client, RUNS, subject, after + 1):
            steps += await self._steps(run, message.data, inflate)
            sequence = sequence_of(message)
            until = max(until, int((message.headers or {}).get(UNTIL_HEADER, 0)))
        if sequence < last:
            raise Unavailable(f"the log of run {run.run_id} is read from a replica that is behind")
        if until and steps[-1].seq < until:
            raise Unavailable(f"the log of run {run.run_id} is being put back")
        if sequence == 0 and job is not None and has_more(job.headers):
            raise LogGap(f"run {run.run_id}: the broker has no step of it but its request")
        return LogRead(tuple(steps), sequence)

    async def _steps(self, run: RunKey, data: bytes, inflate: bool) -> list[Step]:
        return await self._payloads.decode(run.project, data) if inflate else decode_steps(data)

    async def purge(self, run: RunKey) -> None:
        """Erase the run from the broker, dead letters included; `run-deleted` stays as the tombstone."""
        log_of_run = log_subject(run)
        await self._erase(RUNS, log_of_run, keep_last=True)
        await self._erase(RUNS, job_subject(run))
        await self._erase(RUNS, redo_subject("*", run))
        await self._erase(DEAD, dead_subject("*", "*", run))

    async def _erase(self, stream: str, subject: str, *, keep_last: bool = False) -> None:
        """One by one, which overwrites them on disk; a purge of a subject has cost other subjects' jobs
        their place in the queue when the broker was killed afterwards."""
        stored = stored_messages(self._client, stream, subject)
        sequences = [sequence_of(message) async for message in stored]
        await self.erase(sequences[:-1] if keep_last else sequences, stream)

    async def erase(self, sequences: Iterable[int], stream: str = RUNS) -> None:
        """Erase these messages; those that are gone already are no fault. Raises Unavailable."""
        for sequence in sequences:
            try:
                await self._js.delete_msg(stream, sequence)
            except (NatsError, OSError) as error:
                if isinstance(error, APIError) and error.err_code in NO_SUCH_MESSAGE:
                    continue  # erased by another who had the same errand
                raise Unavailable(f"the broker did not erase a message of {stream}: {error}") from error

    async def _publish(
        self, subject: str, run: RunKey, sealed: Sealed, expected: int, patience_s: float
    ) -> int:
        payload = await self._payloads.encode(run.project, sealed.encoded)
        # The writer and the content are part of the id: replicated streams look at the id before they
        # compare sequences, and would tell the second of two writers that its steps are stored.
        digest = blake2b(payload, digest_size=8).hexdigest()
        message_id = f"{run.run_id}:{sealed.steps[0].seq}:{self.writer}:{digest}"
        headers: dict[str, str] = {
            Header.MSG_ID: message_id,
            Header.EXPECTED_STREAM: RUNS,
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(expected),
            KINDS_HEADER: ",".join(step.kind for step in sealed.steps),
        }
        if sealed.until is not None:
            headers[UNTIL_HEADER] = str(sealed.until)
        deadline, delay = monotonic() + patience_s, 0.05
        while True:
            try:
                return await self._publish_once(subject, payload, headers, min(patience_s, ACK_WAIT_S))
            except _Unanswered as error:
                if monotonic() + delay > deadline:
                    raise Unavailable(
                        f"the broker did not acknowledge within {patience_s:g} s: {error}"
                    ) from error
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def _publish_once(
        self, subject: str, payload: bytes, headers: dict[str, str], timeout_s: float
    ) -> int:
        try:
            ack = await self._js.publish(subject, payload, timeout=timeout_s, headers=dict(headers))
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return await self._own_write(subject, headers[Header.MSG_ID])
            if error.err_code in STREAM_FULL:
                raise Unavailable("the broker's stream is full") from error
            if error.code and error.code < 500:
                raise Permanent(f"the broker refused the message: {error.description}") from error
            raise _Unanswered(str(error)) from error
        except (NatsError, NoStreamResponseError, OSError) as error:
            raise _Unanswered(str(error) or type(error).__name__) from error
        return ack.seq

    async def _own_write(self, subject: str, message_id: str) -> int:
        """The sequence of the last message if this writer stored it and lost the acknowledgement."""
        last = await self._leader_last(subject)
        if last is not None and last[1] == message_id:
            return last[0]
        raise Conflict("the log has moved on since it was read")

    async def _leader_last(self, subject: str) -> tuple[int, str | None] | None:
        """Sequence and message id of a subject's last message, asked of the stream's leader."""
        try:
            message = await self._js.get_last_msg(RUNS, subject, direct=False)
        except NotFoundError:
            return None
        except (NatsError, OSError) as error:
            raise _Unanswered(str(error) or type(error).__name__) from error
        return message.seq or 0, (message.headers or {}).get(Header.MSG_ID)

    async def _last_sequence(self, subject: str) -> int:
        try:
            last = await self._leader_last(subject)
        except _Unanswered as error:
            raise Unavailable(f"the broker did not answer a read: {error}") from error
        return last[0] if last else 0


def has_more(headers: Mapping[str, str] | None) -> bool:
    """Whether a job with these headers was put into the queue for a run that has a log."""
    cause = (headers or {}).get(AGAIN_HEADER)
    return cause is not None and not cause.startswith(FIRST_CAUSES)
