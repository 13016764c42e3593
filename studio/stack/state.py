"""What a stack knows about itself, kept in `state.json` for other commands and for the next start.

No secret is in it. It is written after every change, by replacing the file.
"""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from studio.stack.causes import in_words
from studio.stack.errors import StackError
from studio.stack.ownership import open_own, replace_own

ProcessStatus: TypeAlias = Literal[
    "waiting", "starting", "ready", "done", "restarting", "failed", "stopping", "stopped"
]
StackStatus: TypeAlias = Literal["starting", "ready", "stopping"]


@dataclass(frozen=True)
class ProcessState:
    """One process. `created` with `pid` tells it from a later process with the same number."""

    name: str
    kind: Literal["server", "setup", "service"]
    log: str
    status: ProcessStatus = "waiting"
    pid: int = 0
    created: float = 0.0
    port: int = 0
    restarts: int = 0
    note: str = ""


@dataclass(frozen=True)
class StackState:
    """The whole stack. Times are seconds since the epoch."""

    folder: str
    key_file: str
    provider: str
    provider_url: str
    gateway_url: str
    monitor_port: int
    supervisor_pid: int
    supervisor_created: float
    started_at: float
    status: StackStatus = "starting"
    notes: tuple[str, ...] = ()
    processes: tuple[ProcessState, ...] = ()

    def process(self, name: str) -> ProcessState:
        """The process of that name; raises KeyError."""
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(name)


def write_state(file: Path, state: StackState) -> None:
    """Replace the file, so that a reader sees the old state or the new one."""
    replace_own(file, json.dumps(asdict(state), indent=1))


def read_state(file: Path) -> StackState | None:
    """The recorded state; None when there is none, or one that this version cannot read.

    Raises StackError when it is another user's: the processes that it names may be signalled.
    """
    try:
        with os.fdopen(open_own(file, os.O_RDONLY)) as stream:
            raw: dict[str, Any] = json.load(stream)
        processes = tuple(ProcessState(**each) for each in raw.pop("processes"))
        return StackState(**{**raw, "notes": tuple(raw["notes"])}, processes=processes)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


class Board:
    """The state while the stack runs: changed by several threads, written to the file, told to a listener."""

    def __init__(self, file: Path, state: StackState, listener: Callable[[StackState], None]) -> None:
        self._file: Path | None = file
        self._state = state
        self._listener = listener
        self._lock = threading.Lock()
        write_state(file, state)
        listener(state)

    @property
    def state(self) -> StackState:
        return self._state

    def leave_file(self) -> None:
        """Write no more: the file is gone, or another stack's."""
        self._file = None

    def change(self, **changes: Any) -> None:
        """Change fields of the stack itself."""
        with self._lock:
            self._publish(replace(self._state, **changes))

    def change_process(self, name: str, **changes: Any) -> None:
        """Change fields of one process."""
        with self._lock:
            processes = tuple(
                replace(each, **changes) if each.name == name else each for each in self._state.processes
            )
            self._publish(replace(self._state, processes=processes))

    def _publish(self, state: StackState) -> None:
        if state == self._state:
            return
        self._state = state
        if self._file is not None:
            self._write(self._file, state)
        self._listener(self._state)

    def _write(self, file: Path, state: StackState) -> None:
        try:
            write_state(file, state)
        except (OSError, StackError) as error:
            # A full disk must not end the supervision; the note is shown where the stack runs.
            note = f"the state is not written: {in_words(error)}"
            self._state = replace(state, notes=(*(each for each in state.notes if each != note), note))
