"""The runs that are to be replayed: they have ended, and the broker has their logs, which runners read."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from services.gateway.bodies import Bodies
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import is_old
from services.gateway.problems import NOT_FOUND, DatabaseAway, Problem, no_such_run, unavailable
from services.gateway.replays import refusals
from services.gateway.runs import Found, Runs
from services.gateway.views import RunView
from shared.run_state import LogGap
from shared.step_codec import decode_steps
from shared.steps import RunRequested, Step
from shared.subjects import RunKey

AT_ONCE: Final = 16
PATIENCE_S: Final = 60.0
Item = TypeVar("Item")
Result = TypeVar("Result")


Inspect = Callable[[RunKey, Sequence[Step]], None]
"""Looks at all steps of a run, in which large values are references."""


@dataclass(frozen=True)
class Source:
    """A run that has ended."""

    run: RunKey
    view: RunView
    request: RunRequested


class Sources:
    """Methods raise Problem (404, 409, 422) and Unavailable."""

    def __init__(self, runs: Runs, bodies: Bodies, lifecycle: Lifecycle) -> None:
        self._runs = runs
        self._bodies = bodies
        self._lifecycle = lifecycle

    async def find(self, runs: Sequence[RunKey], inspect: Inspect | None = None) -> list[Source]:
        """In the same order. `inspect` may refuse them; it is called beside the event loop."""
        field = "run_ids" if len(runs) > 1 else "run_id"

        async def one(run: RunKey) -> Source:
            found = await self._runs.find(run)
            _check(found.view, field)
            if inspect is not None:
                await self._inspect(found, inspect)
            return await self._source(found)

        # All steps of a run take room: one run at a time.
        return await _each(one, runs, AT_ONCE if inspect is None else 1)

    async def keep(self, sources: Iterable[Source]) -> None:
        """Have the logs in the broker that the replays read: theirs, and those of their sessions' runs."""
        wanted: dict[RunKey, bool] = {}
        for source in sources:
            parts = [part.run_id for part in source.request.history if part.messages is None]
            wanted |= {RunKey(source.run.project, run_id): False for run_id in parts}
            wanted[source.run] = True
        old = [(run, must) for run, must in wanted.items() if is_old(run)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _each(self._keep, old, AT_ONCE)
        except TimeoutError:
            raise unavailable(
                f"the logs of {len(old)} runs have left the broker, and are not all put back yet; repeat the "
                "request to go on"
            ) from None

    async def _keep(self, wanted: tuple[RunKey, bool]) -> None:
        run, must = wanted
        try:
            await self._lifecycle.keep(run)
        except Problem as problem:
            if must or problem.kind is not NOT_FOUND:
                raise  # else what was said in a deleted run is not told to the model any more

    async def _source(self, found: Found) -> Source:
        texts = [step.text for step in await self._runs.steps(found, -1, 1)]
        whole = await self._bodies.inflated(found.run, texts)
        request = decode_steps(b"[" + b",".join(whole) + b"]")[0] if whole else None
        if not isinstance(request, RunRequested):
            raise no_such_run(found.run.run_id)  # deleted a moment ago
        return Source(found.run, found.view, request)

    async def _inspect(self, found: Found, inspect: Inspect) -> None:
        texts = [step.text async for page in self._runs.step_pages(found, -1) for step in page]

        def look() -> None:
            inspect(found.run, decode_steps(b"[" + b",".join(texts) + b"]"))

        try:
            await asyncio.to_thread(look)
        except LogGap as gap:
            raise DatabaseAway(f"Postgres does not have all steps of the run yet: {gap}") from gap


def _check(view: RunView, field: str) -> None:
    if not view.status.is_final:
        raise refusals.still_active(view.run_id, view.status)
    if view.replay is not None and view.replay.mode == "verify":
        raise refusals.a_verification(field, view.run_id, view.replay.source_run_id)


async def _each(
    work: Callable[[Item], Awaitable[Result]], items: Sequence[Item], at_once: int
) -> list[Result]:
    """A few at a time; raises what the first of them that fails raises."""
    results: list[Result] = []
    for start in range(0, len(items), at_once):
        done = await asyncio.gather(*map(work, items[start : start + at_once]), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
            results.append(result)
    return results
