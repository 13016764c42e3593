"""A run as it happens: each step as a row, and below them what goes on right now.

In a terminal the lower part moves: who is waited for, the text that the model writes, the next try.
Elsewhere there are the rows only.
"""

from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from shared.steps import RunFinished, Step, ToolCall, ToolResult
from studio.client.events import Delta, Event, ModelCallStarted, Retrying
from studio.terminal.amounts import duration
from studio.terminal.lines import KIND_WIDTH, OFFSET_WIDTH, retry_row, step_row
from studio.terminal.text import plain

FRAMES_PER_SECOND: Final = 12
INDENT: Final = OFFSET_WIDTH + KIND_WIDTH + 4
# Of a long answer the end is shown while it is written; the step that follows shows the whole.
KEPT_CHARACTERS: Final = 20_000


@dataclass
class Activity:
    """What goes on between two steps, since when, and until when if that is known."""

    label: str = "waiting for a runner"
    since: float = field(default_factory=monotonic)
    text: str = ""
    tools: dict[str, str] = field(default_factory=dict)

    def turn_to(self, label: str) -> None:
        self.label, self.since, self.text = label, monotonic(), ""

    def take(self, event: Event) -> None:
        match event:
            case ModelCallStarted():
                self.turn_to(f"asking {plain(event.model)}")
            case Delta():
                self.label = "writing"
                self.text = (self.text + event.text)[-KEPT_CHARACTERS:]
            case Retrying():
                self.turn_to(f"waiting {duration(event.wait_s)} for the next try")
            case ToolCall():
                self.tools[event.call_id] = plain(event.tool)
                self.turn_to(self._running())
            case ToolResult():
                self.tools.pop(event.call_id, None)
                self.turn_to(self._running())
            case RunFinished():
                self.turn_to("finished")
            case _:
                self.turn_to("running")

    def _running(self) -> str:
        return f"running {', '.join(self.tools.values())}" if self.tools else "running"


class LiveRun:
    """`with LiveRun(console) as live: for event in …: live.take(event)`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._activity = Activity()
        self._began: datetime | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    def take(self, event: Event) -> None:
        """Show an event. Steps must come in order, the first one first."""
        self._activity.take(event)
        if isinstance(event, Retrying):
            self._console.print(retry_row(event))
        elif isinstance(event, Step):
            self._began = self._began or event.at
            self._console.print(step_row(event, self._began))

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self.now,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def now(self) -> RenderableType:
        """The moving part."""
        since = duration(monotonic() - self._activity.since)
        self._spinner.update(text=Text(f"{self._activity.label} · {since}", "dim"))
        head = Padding(self._spinner, (0, 0, 0, OFFSET_WIDTH + 2))
        text = self._last_lines()
        return Group(head, Padding(text, (0, 0, 0, INDENT))) if text else head

    def _last_lines(self) -> Text | None:
        if not self._activity.text:
            return None
        width, height = max(20, self._console.width - INDENT - 2), max(3, self._console.height - 6)
        lines = Text(plain(self._activity.text)).wrap(self._console, width)
        return Text("\n").join(lines[-height:])
