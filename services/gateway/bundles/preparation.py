"""From a bundle to what is written of its run: a job, and the messages of a log behind it. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from shared.bundle.arrival import arrived
from shared.bundle.faults import BundleFault
from shared.bundle.manifest import MANIFEST
from shared.bundle.reading import Bundle
from shared.bus import DAY_S
from shared.payload import INLINE_LIMIT
from shared.run_log import Sealed
from shared.step_codec import decode_step, encode_step
from shared.steps import Step
from shared.subjects import RunKey

EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
Seal = Callable[[Sequence[Step]], Sealed]


@dataclass(frozen=True)
class Prepared:
    """A run that can be written. In `scrubbed` steps the rules of redaction here have changed something."""

    run: RunKey
    job: bytes
    log: Sealed
    scrubbed: int

    def chunks(self, after: int) -> Iterator[Sealed]:
        """The steps behind seq `after`, as many at a time as fit into a message."""
        start, size = after, 0
        for place in range(after, len(self.log.steps)):
            size += len(self.log.encoded[place]) + 1
            if place > start and size >= INLINE_LIMIT:
                yield self._slice(start, place)
                start, size = place, len(self.log.encoded[place]) + 1
        if start < len(self.log.steps):
            yield self._slice(start, len(self.log.steps))

    def _slice(self, start: int, end: int) -> Sealed:
        return Sealed(self.log.steps[start:end], self.log.encoded[start:end], self.log.until)


def prepare(bundle: Bundle, run: RunKey, seal: Seal, *, trusted: bool) -> Prepared:
    steps = arrived(bundle, [decode_step(raw) for raw in bundle.contents.whole_steps()], run, trusted=trusted)
    sealed = seal(steps)
    scrubbed = sum(encode_step(step) != text for step, text in zip(steps, sealed.encoded, strict=True))
    behind = Sealed(sealed.steps[1:], sealed.encoded[1:], until=steps[-1].seq)
    return Prepared(run, sealed.encoded[0], behind, scrubbed)


def check_time(run_id: str, now: datetime) -> None:
    """For each week there is a partition: a file must not make them for ages. Raises BundleFault."""
    accepted_at = (UUID(run_id).int >> 80) / 1000
    if not EARLIEST.timestamp() <= accepted_at <= now.timestamp() + DAY_S:
        raise BundleFault(MANIFEST, f"run_id: its time is not between {EARLIEST.year} and now")
