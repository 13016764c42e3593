"""What a new run of a session carries of the runs before it: references while the broker has their logs, and
of older runs the conversation itself, each time from Postgres, where what was deleted is not any more.

Which runs these are is in `continuation.py`.
"""

from typing import Final

import structlog
from pydantic import JsonValue
from pydantic_core import to_json

from services.gateway.bodies import Bodies
from services.gateway.lifecycle import Lifecycle
from services.gateway.log_reader import is_old
from services.gateway.problems import NOT_FOUND, Problem
from services.gateway.runs import Runs
from shared.provider_messages import JsonObject, messages_of
from shared.run_state import Turn
from shared.step_codec import decode_steps, encode_step
from shared.steps import HistoryPart, RunRequested, RunStatus, Step, ToolResult
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

MOST_RUNS: Final = 50
MOST_BYTES: Final = 1024 * 1024
"""Of the JSON text of all that is carried itself; the oldest runs are left out first."""


class _TooLarge(Exception):
    """A value of the conversation is larger than what may be carried."""


class History:
    """Methods raise Unavailable."""

    def __init__(self, runs: Runs, bodies: Bodies, lifecycle: Lifecycle) -> None:
        self._runs = runs
        self._bodies = bodies
        self._lifecycle = lifecycle

    async def behind(self, earlier: RunRequested) -> tuple[HistoryPart, ...]:
        """The parts that a run continues which comes right after `earlier`, the oldest first."""
        run_ids = (*(part.run_id for part in earlier.history), earlier.run_id)[-MOST_RUNS:]
        carried: list[HistoryPart] = []
        left = MOST_BYTES
        for run_id in reversed(run_ids):
            try:
                messages = await self._messages(RunKey(earlier.project, run_id))
            except _TooLarge:
                break
            left -= len(to_json(messages))
            if left < 0:
                break
            carried.append(HistoryPart(run_id=run_id, messages=messages))
        if len(carried) < len(run_ids):
            log.info("a session's oldest runs are left out", after=earlier.run_id, runs=len(carried))
        return tuple(reversed(carried))

    async def _messages(self, run: RunKey) -> JsonValue:
        """None: they are in the run's own log. Empty for a run that did not complete, or was deleted."""
        if not is_old(run):
            return None
        try:
            found = await self._runs.find(run)
            if found.in_database and found.view.status.is_final:
                return [*await self._said(run)] if found.view.status is RunStatus.COMPLETED else []
            await self._lifecycle.keep(run)  # its end is waited for
        except Problem as problem:
            if problem.kind is not NOT_FOUND:
                raise
            return []
        return None

    async def _said(self, run: RunKey) -> list[JsonObject]:
        turns = (await self._runs.recorded(run)).turns
        return messages_of([await self._whole(run, turn) for turn in turns])

    async def _whole(self, run: RunKey, turn: Turn) -> Turn:
        """The turn with its large values, but for those that no message shows."""
        hidden = {"artifacts": ()} if isinstance(turn, ToolResult) else {"reasoning": None}
        text = encode_step(turn.model_copy(update={k: v for k, v in hidden.items() if hasattr(turn, k)}))
        [text] = await self._bodies.inflated(run, [text])
        if b'"$body"' in text:
            raise _TooLarge
        step: Step = decode_steps(b"[" + text + b"]")[0]
        if not isinstance(step, Turn):
            raise TypeError("a turn is a turn, whatever its values")
        return step
