"""What a person sees of a stack in the terminal: the progress of its start, its changes, where it is."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from studio.stack.log_lines import parse, render
from studio.stack.state import ProcessState, StackState
from studio.stack.status import ProcessReport, StackReport
from studio.terminal.text import plain

MARKS = {
    "waiting": ("·", "dim"),
    "ready": ("✓", "green"),
    "done": ("✓", "green"),
    "restarting": ("↻", "yellow"),
    "failed": ("✗", "red"),
    "stopping": ("…", "yellow"),
    "stopped": ("·", "dim"),
}
# In the order in which they stay as a terminal gets narrower.
COLUMNS = ("process", "health", "pid", "url", "restarts", "MiB")
NUMBERS = ("pid", "restarts", "MiB")
WIDE, NARROW = 88, 70
HINTS = {
    "stopped": "; `studio up` starts it",
    "abandoned": ": the supervisor was killed; `studio up` starts anew, `studio down` ends the rest",
}


class Progress:
    """Listens to a stack. In a terminal a live table while it starts; elsewhere a line for each change."""

    def __init__(self, console: Console, known: StackState | None = None) -> None:
        self._console = console
        self._live: Live | None = None
        self._last = known
        self._spinner = Spinner("dots", style="cyan")

    def __call__(self, state: StackState) -> None:
        before, self._last = self._last, state
        if self._live is not None:
            self._live.update(self._picture(state))
        else:
            self.say(*changes(before, state))

    def say(self, *lines: RenderableType, style: str = "") -> None:
        """Print below what was shown so far."""
        try:
            for line in lines:
                self._console.print(line, style=style)
        except (OSError, SystemExit):
            # The terminal was closed, or the reader of the pipe went away (rich asks to exit then): this is
            # often not the main thread, and the stack goes on untold until it is stopped.
            self._console.quiet = True

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _picture(self, state: StackState) -> Group:
        table = Table.grid(padding=(0, 2))
        for process in state.processes:
            table.add_row(
                self._mark(process), process.name, _where(process), Text(_first_line(process.note), "dim")
            )
        return Group(Text(f"starting in {state.folder}", style="bold"), table)

    def _mark(self, process: ProcessState) -> Spinner | Text:
        return self._spinner if process.status == "starting" else Text(*MARKS[process.status])


def changes(before: StackState | None, after: StackState) -> list[Text]:
    """A line for each process whose status is not what it was."""
    known = {process.name: process.status for process in before.processes} if before else {}
    return [
        Text.assemble(Text(*MARKS.get(each.status, ("…", "cyan"))), f" {each.name} ", (_what(each), "dim"))
        for each in after.processes
        if each.status not in ("waiting", known.get(each.name))
    ]


def summary(state: StackState) -> Panel:
    """Where everything is, for someone who wants to use it."""
    grid = Table.grid(padding=(0, 2))
    for label, value in (
        ("gateway", state.gateway_url),
        ("API docs", f"{state.gateway_url}/docs"),
        ("model", f"{state.provider} ({state.provider_url})"),
        ("API key", state.key_file),
        ("data", state.folder),
    ):
        grid.add_row(Text(label, "dim"), Text(value))
    for note in state.notes:
        grid.add_row(Text("note", "yellow"), Text(note))
    return Panel(
        grid, title="AgentOps Studio is ready", title_align="left", expand=False, border_style="green"
    )


def report_table(report: StackReport, width: int = WIDE) -> Group | Text:
    """Every process with its health; for a stack that does not run, one line. A narrow one shows less."""
    if not report.processes:
        return Text(f"{report.status} in {report.folder}" + HINTS.get(report.status, ""))
    titles = COLUMNS if width >= WIDE else COLUMNS[:-2] if width >= NARROW else COLUMNS[:-3]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(
            title,
            justify="right" if title in NUMBERS else "left",
            no_wrap=title not in ("health", "url"),
            min_width=len("healthy") if title == "health" else None,
        )
    for each in report.processes:
        table.add_row(*_cells(each)[: len(titles)])
    head = Text(f"{report.status} in {report.folder}" + HINTS.get(report.status, ""), style="bold")
    facts = (
        f"model: {report.provider} ({report.provider_url})",
        f"API key: {report.key_file}",
        f"memory: {report.memory_mb:.0f} MiB, up for {report.uptime_s:.0f} s",
        # Where no column tells the addresses, what is not on its usual port is said.
        *(() if "url" in titles else report.notes),
    )
    return Group(head, table, *(Text(fact, "dim") for fact in facts))


def _cells(process: ProcessReport) -> tuple[str | Text, ...]:
    sick = Text(plain(f"{process.status}: {process.detail}"), "red")
    return (
        process.name,
        Text("healthy", "green") if process.healthy else sick,
        str(process.pid),
        Text(process.url.removesuffix("/studio"), no_wrap=True, overflow="ellipsis"),
        str(process.restarts),
        f"{process.memory_mb:.0f}",
    )


def failure(message: str) -> Text:
    """An error whose first line says what happened and whose others are the last lines of a log."""
    first, *lines = message.splitlines() or [""]
    logged = (render("", parse(line), width=0) for line in lines)
    return Text("\n").join([Text(plain(first), style="bold red"), *logged])


def _where(process: ProcessState) -> Text:
    return Text(f":{process.port}" if process.port else "", style="dim")


def _what(process: ProcessState) -> str:
    where = f" on port {process.port}" if process.status == "ready" and process.port else ""
    note = f" ({_first_line(process.note)})" if process.note else ""
    return f"{process.status}{where}{note}"


def _first_line(note: str) -> str:
    return plain(note.split("\n", 1)[0])
