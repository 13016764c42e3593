"""A running stack for the demo: its own, or the one that runs in the folder already."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from studio.demo.signals import Interrupts
from studio.stack.control import owner_state
from studio.stack.display import Progress
from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.folder import DataFolder
from studio.stack.state import StackState
from studio.stack.supervisor import Stack

OTHERS_START_S: Final = 90.0
POLL_S: Final = 0.2


@dataclass(frozen=True)
class Stage:
    """`own`: the stack that the demo started and stops; None for one that ran before."""

    state: StackState
    own: Stack | None = None


@contextmanager
def running_stack(folder: Path, interrupts: Interrupts, console: Console) -> Iterator[Stage]:
    """A stack that is ready; the demo's own is stopped at the end. Raises StackError."""
    progress = Progress(console)
    stack = Stack(folder, listener=progress)
    interrupts.hurry = stack.hurry
    try:
        with progress:
            stack.start()
    except AlreadyRunning:
        yield Stage(_ready_state(folder))
        return
    try:
        yield Stage(stack.state, stack)
    finally:
        interrupts.shield()
        stack.stop()


def _ready_state(folder: Path) -> StackState:
    """The state of the stack that someone else runs there, once it is ready."""
    deadline = time.monotonic() + OTHERS_START_S
    while time.monotonic() < deadline:
        state = owner_state(DataFolder.at(folder))
        if state is not None and state.status == "ready":
            return state
        time.sleep(POLL_S)
    raise StackError(f"another stack holds {folder} and is not ready; `studio status` says how it is")
