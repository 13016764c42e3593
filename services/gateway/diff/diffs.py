"""Comparing two runs: both are read whole, within bounds, and compared beside the event loop.

What a comparison says is in `shared.diff`. Not here: comparisons that a replay has stored.
"""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.gateway.bodies import Bodies
from services.gateway.problems import INVALID, DatabaseAway, FieldError, Problem
from services.gateway.runs import Found, Runs
from services.gateway.turns import Turns
from shared.diff import diff_runs
from shared.run_state import LogGap
from shared.step_codec import decode_steps
from shared.subjects import RunKey

MOST_STEPS: Final = 20_000
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of the steps of both runs, in which large values are references."""


@dataclass(frozen=True)
class _Read:
    """A run as it was read: the JSON of its steps, and what it cost."""

    steps: list[bytes]
    cost_usd: Decimal | None


class Diffs:
    """Methods raise Unavailable and Problem: 404, 422 for runs that are too large, 503 for too many."""

    def __init__(self, runs: Runs, bodies: Bodies) -> None:
        self._runs = runs
        self._bodies = bodies
        self._turns = Turns("runs are being compared")

    async def json(self, left: RunKey, right: RunKey) -> bytes:
        """The `RunDiff` of the two, of a run that goes on as far as it has come."""
        async with self._turns.one():
            found = {run: await self._runs.find(run) for run in (left, right)}
            steps = sum(each.view.step_count for each in found.values())
            if steps > MOST_STEPS:
                raise _too_large(f"the two runs have {steps:,} steps together; at most {MOST_STEPS:,}")
            read = await self._read(*found.values())
            try:
                return await asyncio.to_thread(_compared, read[left], read[right])
            except LogGap as gap:
                raise DatabaseAway(f"Postgres does not have all steps of the run yet: {gap}") from gap

    async def _read(self, *runs: Found) -> dict[RunKey, _Read]:
        size, read = 0, {}
        for found in runs:
            texts: list[bytes] = []
            async for page in self._runs.step_pages(found, -1):
                size += sum(len(step.text) for step in page)
                if size > MOST_BYTES:
                    raise _too_large(f"the steps of the two runs are too large; at most {MOST_BYTES:,} bytes")
                texts += [step.text for step in page]
            whole = await self._bodies.inflated(found.run, texts)
            read[found.run] = _Read(whole, found.view.total_cost_usd)
        return read


def _too_large(what: str) -> Problem:
    error = FieldError(field="right", message="too large to be compared with left")
    return Problem(INVALID, f"{what} can be compared", errors=[error])


def _compared(left: _Read, right: _Read) -> bytes:
    # One by one: while many are decoded at once, nothing else goes on in the process.
    steps = [[step for text in each.steps for step in decode_steps(b"[%b]" % text)] for each in (left, right)]
    diff = diff_runs(*steps, left_usd=left.cost_usd, right_usd=right.cost_usd)
    return diff.__pydantic_serializer__.to_json(diff)
