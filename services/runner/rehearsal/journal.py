"""Where the runner's code writes during a rehearsal: each step is held against the recorded one."""

import json
from collections.abc import Mapping
from typing import Any, Final

from services.runner.journal import Draft
from services.runner.rehearsal.script import News, Script
from shared.divergence import readable
from shared.run_state import LogGap, RunState
from shared.scrub import Scrubber
from shared.step_codec import encode_step
from shared.steps import (
    AgentThought,
    ApprovalRequested,
    Divergence,
    RunFinished,
    RunRequested,
    Step,
    UserRequest,
)

MEASURED: Final[Mapping[type[Step], tuple[str, ...]]] = {
    AgentThought: ("dropped_calls",),
    ApprovalRequested: ("expires_at",),
}
"""What follows from the clock or from what the provider sent beside the answer, not from the log."""


class Diverged(Exception):
    """The run parts from its record here."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(f"step {divergence.step}: {divergence.cause}")
        self.divergence = divergence


class RehearsalJournal:
    """As `Journal`, for a log that is written already; `state` is what was played so far adds up to."""

    def __init__(self, snapshot: RunRequested, script: Script, scrubber: Scrubber) -> None:
        self.state = RunState()
        self.state.apply(snapshot)
        self._script = script
        self._scrubber = scrubber
        self.made = 0

    @property
    def request(self) -> RunRequested:
        """Step 0. Raises LogGap when the log does not begin with it."""
        if self.state.request is None:
            raise LogGap("the log does not begin with a request")
        return self.state.request

    @property
    def attempt(self) -> int:
        return self.state.attempt

    def record(self, *drafts: Draft) -> None:
        """Hold the steps against the recorded ones. Raises Diverged."""
        while isinstance(self._script.next, News):  # it came before these were on disk
            self.take(self._script.next)
        for kind, fields in drafts:
            recorded = self._script.next
            if recorded is None:
                return  # the log ends in the middle of what is going on
            self._compare(kind, fields, recorded)
            self.take(recorded)
            self.made += 1

    async def commit(self) -> None:
        """All of it is on disk already."""

    def take(self, step: Step) -> None:
        """Play a step as it is recorded."""
        self.state.apply(step)
        self._script.advance()

    def _compare(self, kind: type[Any], fields: Mapping[str, Any], recorded: Step) -> None:
        envelope = {name: getattr(recorded, name) for name in ENVELOPE}
        made, text = self._scrubber.step(_without_measures(kind(**envelope, **fields), recorded))
        if text != encode_step(recorded):
            raise Diverged(_difference(recorded, made))


ENVELOPE: Final = ("run_id", "seq", "at", "project", "attempt", "writer", "traceparent")


def _without_measures(made: Step, recorded: Step) -> Step:
    if type(made) is not type(recorded):
        return made
    if isinstance(made, RunFinished) and isinstance(recorded, RunFinished):
        duration = {"duration_ms": recorded.totals.duration_ms}
        return made.model_copy(update={"totals": made.totals.model_copy(update=duration)})
    names = MEASURED.get(type(made), ())
    return made.model_copy(update={name: getattr(recorded, name) for name in names}) if names else made


def _difference(recorded: Step, made: Step) -> Divergence:
    diff = readable(*(json.loads(encode_step(step)) for step in (recorded, made)))
    cause: Any = "message" if isinstance(recorded, UserRequest) else "code-version"
    path = next((f"/{name}" for name, _ in recorded if _value(recorded, name) != _value(made, name)), "")
    return Divergence(step=recorded.seq, cause=cause, path=path, diff=diff)


def _value(step: Step, name: str) -> object:
    return getattr(step, name, None)
