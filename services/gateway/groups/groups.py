"""Looking at groups of runs, and stopping all of one."""

import asyncio
from functools import partial
from typing import Final
from uuid import UUID

from services.gateway.groups import reads
from services.gateway.groups.views import GroupCancelled, GroupView
from services.gateway.lifecycle import Lifecycle
from services.gateway.problems import NOT_FOUND, RUN_FINISHED, Problem
from services.gateway.reads import answered
from shared.database import Database
from shared.subjects import RunKey

LIST_PATIENCE_S: Final = 10.0
MOST_CANCELLED: Final = 500
AT_ONCE: Final = 16


class Groups:
    """Methods raise Problem (404) and Unavailable. Postgres hears of a run moments after it was accepted."""

    def __init__(self, database: Database, lifecycle: Lifecycle) -> None:
        self._database = database
        self._lifecycle = lifecycle

    async def page(self, project: str, before: UUID | None, limit: int) -> list[tuple[GroupView, str]]:
        """The groups used last come first; each with the id of its newest run."""
        labels = await answered(
            self._database,
            partial(reads.page, project=project, before=before, limit=limit),
            LIST_PATIENCE_S,
        )
        views = await self._totals(project, [group for group, _ in labels])
        return [(views[group], run_id) for group, run_id in labels if group in views]

    async def get(self, project: str, group: str) -> GroupView:
        view = (await self._totals(project, [group])).get(group)
        if view is None:
            raise Problem(
                NOT_FOUND, f"no run has the label {group[:64]!r}; GET /api/groups lists the labels there are"
            )
        return view

    async def cancel(self, project: str, group: str, who: str, why: str) -> GroupCancelled:
        """Ask the unfinished runs to stop, at most MOST_CANCELLED of them."""
        unasked = await answered(
            self._database,
            partial(reads.unasked, project=project, group=group, most=MOST_CANCELLED),
            LIST_PATIENCE_S,
        )
        if not unasked.count:
            await self.get(project, group)
        runs, asked = [RunKey(project, run_id) for run_id in unasked.run_ids], 0
        for start in range(0, len(runs), AT_ONCE):
            together = (self._cancel(run, who, why) for run in runs[start : start + AT_ONCE])
            for result in await asyncio.gather(*together, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                asked += result
        return GroupCancelled(group=group, asked=asked, left=unasked.count - len(runs))

    async def _cancel(self, run: RunKey, who: str, why: str) -> bool:
        """False when the run has ended in the meantime."""
        try:
            await self._lifecycle.cancel(run, who, why)
        except Problem as problem:
            if problem.kind not in (RUN_FINISHED, NOT_FOUND):
                raise
            return False
        return True

    async def _totals(self, project: str, groups: list[str]) -> dict[str, GroupView]:
        return await answered(
            self._database, partial(reads.totals, project=project, groups=groups), LIST_PATIENCE_S
        )
