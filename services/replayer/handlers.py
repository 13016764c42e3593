"""What the replayer does with the ends of runs: those that a replay waits for are marked, and it is woken."""

from collections.abc import Callable, Sequence
from typing import Final

from services.replayer.store import runs
from shared.database import Database
from shared.steps import RunDeleted, RunFinished, RunStatus, Step

ENDS: Final = frozenset({"run-finished", "run-deleted"})


class Ends:
    """`wake`: there is something to measure."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    async def mark(self, steps: Sequence[Step]) -> None:
        """Raises Unavailable or Permanent."""
        ends: dict[str, RunStatus] = {}
        for step in steps:
            if isinstance(step, RunFinished):
                ends[step.run_id] = RunStatus(step.status)
            elif isinstance(step, RunDeleted):  # its end may have been erased before it was read
                ends.setdefault(step.run_id, RunStatus.FAILED)
        if not ends:
            return
        async with self._database.transaction() as connection:
            awaited = await runs.mark(connection, ends)
        if awaited:
            self._wake()
