"""A run log in memory with the semantics of the real one, in which a process can crash at any operation.

A test holds it and the real log to the same contract (`tests/integration/test_run_log.py`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Conflict
from shared.run_log import LogRead, Sealed
from shared.scrub import Scrubber
from shared.step_codec import decode_steps
from shared.steps import Step
from shared.subjects import RunKey


@dataclass
class Broker:
    """What is on disk: of each run its job, and its messages with their sequences."""

    jobs: dict[RunKey, bytes] = field(default_factory=dict)
    messages: dict[RunKey, list[tuple[int, str, bytes]]] = field(default_factory=dict)
    sequence: int = 0
    requeued: list[tuple[RunKey, str]] = field(default_factory=list)

    def last(self, key: RunKey) -> int:
        stored = self.messages.get(key)
        return stored[-1][0] if stored else 0

    def store(self, key: RunKey, writer: str, payload: bytes, expected: int) -> int:
        if self.last(key) != expected:
            stored = self.messages.get(key, [])
            if stored and stored[-1][1:] == (writer, payload):
                return stored[-1][0]
            raise Conflict("the log has moved on since it was read")
        self.sequence += 1
        self.messages.setdefault(key, []).append((self.sequence, writer, payload))
        return self.sequence

    def steps(self, key: RunKey) -> list[Step]:
        stored = [decode_steps(self.jobs[key])] if key in self.jobs else []
        stored += [decode_steps(payload) for _, _, payload in self.messages.get(key, [])]
        return [step for batch in stored for step in batch]


class MemoryLog:
    """One writer's view of the broker."""

    def __init__(self, broker: Broker, writer: str, scrubber: Scrubber | None = None) -> None:
        self.broker = broker
        self.writer = writer
        self._scrubber = scrubber or Scrubber()

    def seal(self, steps: Sequence[Step]) -> Sealed:
        pairs = [self._scrubber.step(step) for step in steps]
        return Sealed(tuple(step for step, _ in pairs), tuple(text for _, text in pairs))

    async def request(self, run: RunKey, sealed: Sealed, **_: Any) -> None:
        payload = self._payload(sealed)
        if self.broker.jobs.setdefault(run, payload) != payload:
            raise Conflict("another request has this id")
        await asyncio.sleep(0)

    async def append(self, run: RunKey, sealed: Sealed, expected: int, **_: Any) -> int:
        await asyncio.sleep(0)
        sequence = self.broker.store(run, self.writer, self._payload(sealed), expected)
        await asyncio.sleep(0)
        return sequence

    async def requeue(self, run: RunKey, *, cause: str) -> None:
        await asyncio.sleep(0)
        self.broker.requeued.append((run, cause))

    async def read(
        self, run: RunKey, *, after: int = 0, fresh: bool = False, inflate: bool = True
    ) -> LogRead:
        await asyncio.sleep(0)
        steps = decode_steps(self.broker.jobs[run]) if after == 0 and run in self.broker.jobs else []
        sequence = after
        for stored, _, payload in self.broker.messages.get(run, []):
            if stored > after:
                steps += decode_steps(payload)
                sequence = stored
        return LogRead(tuple(steps), sequence)

    async def announce_end(self, run: RunKey, end: Step) -> None:
        await asyncio.sleep(0)
        self.broker.requeued.append((run, f"ended:{end.seq}"))

    async def purge(self, run: RunKey) -> None:
        await asyncio.sleep(0)
        self.broker.jobs.pop(run, None)
        self.broker.messages[run] = self.broker.messages.get(run, [])[-1:]

    @staticmethod
    def _payload(sealed: Sealed) -> bytes:
        return b"[" + b",".join(sealed.encoded) + b"]"
