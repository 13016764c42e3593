"""A supervisor in the foreground: shown while it starts, its changes told while it runs, until a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from rich.console import Console
from rich.text import Text

from studio.stack.display import Progress, summary
from studio.stack.errors import StackError
from studio.stack.plan import Options
from studio.stack.supervisor import Stack

DELETED = "the data folder was deleted while the stack ran"
LOOK_S = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(folder: Path, options: Options, console: Console) -> None:
    """Start, stay until SIGINT, SIGTERM or SIGHUP, stop in order; a second signal cuts the services short.

    Raises StackError when it cannot start, KeyboardInterrupt when a signal came before it was ready;
    nothing is left running either way. A data folder that is deleted ends it too, with StackError.
    """
    progress = Progress(console)
    stack = Stack(folder, options, progress)
    with _stop_asked(stack) as asked:
        with progress:
            stack.start()
        try:
            progress.say(summary(stack.state))
            progress.say("Ctrl-C stops everything in order.", style="dim")
            while not asked.wait(LOOK_S):
                if stack.deleted:
                    progress.say(Text(f"{DELETED}; stopping everything", "yellow"))
                    raise StackError(f"{DELETED}: {stack.folder.root}")
            progress.say("stopping; Ctrl-C again ends the services at once", style="dim")
        finally:
            stack.stop()


@contextmanager
def _stop_asked(stack: Stack) -> Iterator[Event]:
    """An event that the first signal sets; while the stack starts, it also interrupts the start."""
    asked = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            stack.hurry()
            return
        asked.set()
        if not stack.ready:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
