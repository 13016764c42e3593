"""What goes on in a run between two steps: who is waited for, since when, and what is being written."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from shared.steps import RunFinished, RunRequested, RunWaiting, ToolCall, ToolResult, UserRequest
from studio.client.events import Delta, Event, ModelCallStarted, Retrying
from studio.terminal.amounts import duration
from studio.terminal.text import plain

# Of a long answer the end is shown while it is written; the step that follows shows the whole.
KEPT_CHARACTERS: Final = 20_000
QUEUED: Final = "waiting for a runner"
ASKING: Final = "asking the model"


@dataclass
class Activity:
    """`text` is what the model has written so far; `tools` are those that run, by call id."""

    label: str = QUEUED
    since: float = field(default_factory=monotonic)
    text: str = ""
    tools: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Go on to what follows from the event."""
        match event:
            case ModelCallStarted():
                self._turn_to(f"asking {plain(event.model)}")
            case Delta():
                self.label = "writing"
                self.text = (self.text + event.text)[-KEPT_CHARACTERS:]
            case Retrying():
                self._turn_to(f"waiting {duration(event.wait_s)} for the next try")
            case RunRequested():
                self._turn_to(QUEUED)
            case UserRequest():
                # A live event says so too, but it may have passed before this client listened.
                self._turn_to(ASKING)
            case ToolCall():
                self.tools[event.call_id] = plain(event.tool)
                self._turn_to(self._running())
            case ToolResult():
                self.tools.pop(event.call_id, None)
                self._turn_to(self._running())
            case RunWaiting():
                self._turn_to(f"waiting for {event.reason}")
            case RunFinished():
                self._turn_to("adding up what it cost")
            case _:
                self._turn_to("running")

    def _turn_to(self, label: str) -> None:
        self.label, self.since, self.text = label, monotonic(), ""

    def _running(self) -> str:
        return f"running {', '.join(self.tools.values())}" if self.tools else ASKING
