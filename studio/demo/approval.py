"""A run that a person must allow to go on: the agent that asks, and the demo in the person's place."""

import sys
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Final

from pydantic import JsonValue

from shared.run_state import fold
from shared.steps import RunWaiting
from studio.client.errors import Conflict
from studio.client.events import Event
from studio.client.models import WaitingCall
from studio.client.sync import Studio

TOOL: Final = "file_io"
NAME: Final = "demo-housekeeper"
AGENT: Final[Mapping[str, JsonValue]] = {
    "name": NAME,
    "description": "Keeps the files of the demo in order; a person must allow each of its calls.",
    "instructions": f"Do what is asked with {TOOL}, in as few calls as it takes, and say what you did.",
    "tools": [TOOL],
    "approval_rules": [{"tool": TOOL}],
    "limits": {"approval_timeout_s": 600},  # a demo that is interrupted leaves no question for ever
}
# How long a person may look at the question before it is answered.
LOOK_S: Final = 2.0


class Attended(Studio):
    """A client that allows the calls of TOOL for which a run waits while it is followed."""

    def stream(
        self, run_id: str, *, after: int = -1, wait_s: float | None = None
    ) -> Generator[Event, None, None]:
        for event in super().stream(run_id, after=after, wait_s=wait_s):
            yield event
            if isinstance(event, RunWaiting) and event.reason == "approval":
                self._allow(run_id)

    def _allow(self, run_id: str) -> None:
        if sys.stdout.isatty():
            time.sleep(LOOK_S)
        for asked in fold(self.get(run_id).steps).asked.values():
            if asked.tool == TOOL:
                with suppress(Conflict):  # somebody was quicker
                    self.approve(run_id, WaitingCall(**asked.model_dump(), asked_at=asked.at))


def keep_agent(studio: Studio) -> None:
    """Make the agent; one that an earlier demo made is changed only if it says something else."""
    try:
        studio.create_agent(AGENT)
    except Conflict:
        studio.update_agent(NAME, AGENT)
