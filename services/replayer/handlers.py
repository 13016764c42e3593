"""What the replayer does with the ends of runs: those that a replay waits for are marked, and it is woken; of
deleted ones the texts are erased."""

from collections.abc import Callable, Sequence

from services.replayer.store import erasure, runs
from shared.database import Database
from shared.steps import RunDeleted, RunFinished, RunStatus, Step


class Ends:
    """`wake`: there is something to measure."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    async def mark(self, steps: Sequence[Step]) -> None:
        """Raises Unavailable or Permanent."""
        deleted = sorted({step.run_id for step in steps if isinstance(step, RunDeleted)})
        # The end of a deleted run may have been erased before anybody has read it.
        ends = dict.fromkeys(deleted, RunStatus.FAILED)
        ends |= {step.run_id: RunStatus(step.status) for step in steps if isinstance(step, RunFinished)}
        if not ends:
            return
        async with self._database.transaction() as connection:
            if deleted:
                await erasure.erase(connection, deleted)
            awaited = await runs.mark(connection, ends)
        if awaited:
            self._wake()
