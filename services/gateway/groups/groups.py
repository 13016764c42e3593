"""Looking at groups of runs, and stopping all of one."""

from functools import partial
from typing import Final
from uuid import UUID

from services.gateway.groups import reads
from services.gateway.groups.views import GroupCancelled, GroupView
from services.gateway.lifecycle import Lifecycle
from services.gateway.problems import NOT_FOUND, Problem
from services.gateway.reads import answered
from shared.database import Database
from shared.subjects import RunKey

LIST_PATIENCE_S: Final = 10.0
MOST_CANCELLED: Final = 500


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
        runs = [RunKey(project, run_id) for run_id in unasked.run_ids]
        asked = await self._lifecycle.cancel_all(runs, who, why)
        return GroupCancelled(group=group, asked=asked, left=unasked.count - len(runs))

    async def _totals(self, project: str, groups: list[str]) -> dict[str, GroupView]:
        return await answered(
            self._database, partial(reads.totals, project=project, groups=groups), LIST_PATIENCE_S
        )
