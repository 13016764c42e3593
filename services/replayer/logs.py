"""Reading the logs of runs: the sources, and the runs of replays."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.bodies import BodyMissing
from shared.earlier_runs import as_told, said, told_at
from shared.errors import StudioError
from shared.model_request import JsonObject
from shared.run_log import RunLog
from shared.run_state import LogGap, RunState, fold
from shared.step_codec import Undecodable
from shared.steps import RunRequested, Step
from shared.subjects import RunKey

READS: Final = 3
PAUSE_S: Final = 0.2
"""A replica of the broker may be behind and lack steps or a large value."""


class Gone(StudioError):
    """The run is not there, or not whole; the message says so."""


@dataclass(frozen=True)
class Run:
    """A run as its log tells it."""

    steps: Sequence[Step]
    state: RunState
    request: RunRequested


class Logs:
    """Each run is read once: made anew for every look at a replay."""

    def __init__(self, run_log: RunLog) -> None:
        self._log = run_log
        self._known: dict[RunKey, Run] = {}

    async def run(self, key: RunKey) -> Run:
        """Raises Gone and Unavailable."""
        if key not in self._known:
            self._known[key] = await self._read(key)
        return self._known[key]

    async def history(self, run: Run) -> list[JsonObject]:
        """What was said before in the run's session. Raises Gone and Unavailable."""
        told: list[JsonObject] = []
        for part in run.request.history:
            if isinstance(part.messages, list):
                told += [message for message in part.messages if isinstance(message, dict)]
                continue
            try:
                earlier = await self.run(RunKey(run.request.project, part.run_id))
            except Gone:  # then the runner went on without it, too
                continue
            told += said(as_told(earlier.steps, told_at(run.steps)))
        return told

    async def _read(self, key: RunKey) -> Run:
        for left in reversed(range(READS)):
            try:
                return await self._whole(key)
            except (BodyMissing, LogGap, Undecodable) as error:
                if not left:
                    raise Gone(f"the log of run {key.run_id} is not whole: {error}") from error
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def _whole(self, key: RunKey) -> Run:
        steps = (await self._log.read(key, fresh=True)).steps
        state = fold(steps)
        if state.deleted:
            raise Gone(f"run {key.run_id} was deleted")
        if state.request is None:
            raise Gone(f"there is no run {key.run_id}")
        return Run(steps, state, state.request)
