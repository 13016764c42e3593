"""A run as it happens: each step as a row, and below them what goes on right now.

In a terminal the lower part moves. Elsewhere there are the rows only.
"""

import threading
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from shared.steps import AgentResponse, AgentThought, RunWaiting, Step
from studio.client.events import Event, Retrying
from studio.terminal.activity import Activity
from studio.terminal.amounts import duration
from studio.terminal.lines import KIND_WIDTH, OFFSET_WIDTH, retry_row, row, step_row
from studio.terminal.step_text import WANTED, wanted
from studio.terminal.text import plain

FRAME_S: Final = 1 / 12
INDENT: Final = OFFSET_WIDTH + KIND_WIDTH + 4


class LiveRun:
    """`with LiveRun(console) as live: for event in …: live.take(event)`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._activity = Activity()
        self._began: datetime | None = None
        self._retries = 0
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None
        self._ended = threading.Event()
        # rich's own refreshing may cut in while a row is printed, and then erases the wrong lines.
        self._lock = threading.Lock()
        self._refresher = threading.Thread(target=self._refresh, name="live view", daemon=True)

    def take(self, event: Event) -> None:
        """Show an event. Steps must come in order, the first one first."""
        with self._lock:
            self._activity.take(event)
            for line in self._rows(event):
                self._console.print(line)
            if isinstance(event, RunWaiting) and event.reason in WANTED:
                words = Text(f"it waits for {wanted(event.reason, event.run_id)}", "yellow")
                self._console.print(row("", Text(), words))

    def say(self, words: str) -> None:
        """Show what is known about the connection."""
        with self._lock:
            self._console.print(row("", Text("gateway", "yellow"), Text(words, "yellow")))

    def _rows(self, event: Event) -> list[Table]:
        if isinstance(event, Retrying):
            self._retries += 1
            return [retry_row(event)]
        if not isinstance(event, Step):
            return []
        self._began = self._began or event.at
        return [*map(retry_row, self._missed_retries(event)), step_row(event, self._began)]

    def _missed_retries(self, step: Step) -> list[Retrying]:
        """What went wrong before this client listened, or while its connection was broken."""
        if not isinstance(step, AgentThought | AgentResponse):
            return []
        attempts = step.model_call.attempts
        seen, self._retries = self._retries, 0
        return [Retrying(**attempt.model_dump()) for attempt in attempts[: max(0, len(attempts) - seen)]]

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # Itself, not a picture of it: a row that is printed draws the lower part anew, as it is then.
            self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._refresher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live is not None:
            self._refresher.join()
            self._live.stop()
            self._live = None

    def __rich__(self) -> RenderableType:
        """The moving part as it is now."""
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

    def _refresh(self) -> None:
        while not self._ended.wait(FRAME_S):
            with self._lock:
                if self._live is not None:
                    self._live.refresh()
