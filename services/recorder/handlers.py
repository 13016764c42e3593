"""What the recorder does with a batch: project, write in one transaction, erase what was deleted.

The consumer acknowledges after `record` returned, and may call it again with any of the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Histogram

from services.recorder.bodies import copy
from services.recorder.erasure import erase
from services.recorder.projection import StepRow, changes, project, shown_bodies
from services.recorder.store import bodies, runs
from services.recorder.store import steps as step_rows
from shared.bodies import BodyStore
from shared.database import Connection, Database
from shared.errors import Unavailable
from shared.steps import Step

INSERTED: Final = Counter("studio_recorder_steps_inserted_total", "Steps that became rows.")
DUPLICATES: Final = Counter("studio_recorder_duplicates_total", "Steps that were rows before.")
LATE: Final = Counter("studio_recorder_late_steps_total", "Steps that came after their run was deleted.")
ERASED: Final = Counter("studio_recorder_runs_erased_total", "Runs erased; a repetition counts again.")
SECONDS: Final = Histogram("studio_recorder_insert_seconds", "Time of a batch's transaction.")
SIZE: Final = Histogram(
    "studio_recorder_batch_steps",
    "Steps in a batch.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)


@dataclass(frozen=True)
class Written:
    """What became of the rows of a batch; the others were there before."""

    inserted: int = 0
    late: Sequence[StepRow] = ()


class Recorder:
    def __init__(self, database: Database, objects: BodyStore) -> None:
        self._database = database
        self._objects = objects

    async def record(self, steps: Sequence[Step]) -> None:
        """Write the steps into `steps` and `runs`, each once. Raises Unavailable or Permanent."""
        batch = project(steps)
        written = await self._write(list(batch.rows.values())) if batch.rows else Written()
        orphans = {key for row in written.late for key in row.bodies}
        if batch.deletions or orphans:
            await erase(self._database, self._objects, batch.deletions, orphans)
        SIZE.observe(len(steps))
        INSERTED.inc(written.inserted)
        LATE.inc(len(written.late))
        ERASED.inc(len(batch.deletions))
        DUPLICATES.inc(len(steps) - len(batch.deletions) - len(written.late) - written.inserted)

    async def _write(self, rows: Sequence[StepRow]) -> Written:
        pointing = [row for row in rows if row.bodies]
        if pointing:
            await copy(self._database, self._objects, pointing)
        with SECONDS.time():
            async with self._database.transaction() as connection:
                erased = await _erased(connection, pointing) if pointing else frozenset()
                return await _insert(connection, rows, erased)


async def _erased(connection: Connection, pointing: Sequence[StepRow]) -> frozenset[str]:
    """The deleted runs among those whose steps point to bodies; the bodies of all others are held."""
    held = await bodies.hold(connection, {key for row in pointing for key in row.bodies})
    lacking = {row.step.run_id for row in pointing if not held.issuperset(row.bodies)}
    erased = await runs.deleted(connection, lacking) if lacking else frozenset()
    if lacking - erased:
        raise Unavailable("a body was erased with another run while a step that points to it arrived")
    return erased


async def _insert(connection: Connection, rows: Sequence[StepRow], erased: frozenset[str]) -> Written:
    """Insert what is new, merge it into the runs, and take back what turns out to be late."""
    wanted = [row for row in rows if row.step.run_id not in erased] if erased else rows
    inserted = await step_rows.insert(connection, wanted)
    steps = [row.step for row in inserted]
    shown = set(shown_bodies(row.step for row in inserted if row.bodies))
    texts = await bodies.read(connection, shown) if shown else {}
    deleted = await runs.merge(connection, changes(steps, texts)) if steps else frozenset()
    back = [row for row in inserted if row.step.run_id in deleted] if deleted else []
    if back:
        await step_rows.delete(connection, [(row.step.run_id, row.step.seq) for row in back])
    refused = [row for row in rows if row.step.run_id in erased] if erased else []
    return Written(len(inserted) - len(back), [*back, *refused])
