"""One child process: started in its own session, output appended to a file, ended within a bound.

What to run, and when it counts as ready, is decided elsewhere.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from studio.stack.causes import LINES, how_it_ended, last_words
from studio.stack.errors import StartError
from studio.stack.other_processes import KILL_WAIT_S, create_time
from studio.stack.ownership import append_own

POLL_S = 0.03


@dataclass(frozen=True)
class Command:
    """What to start. `user` is a uid that a root caller gives the process; None keeps the caller's."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    user: int | None = None
    group: int | None = None


class Process:
    """A running child. Ctrl-C in the terminal does not reach it: it leads a session of its own."""

    def __init__(self, command: Command) -> None:
        self.name = command.name
        self.log = command.log
        self._log_start = command.log.stat().st_size if command.log.exists() else 0
        command.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._child = _spawn(command)
        except OSError as error:
            raise StartError(f"{command.name} cannot be started: {error}") from error
        self.pid = self._child.pid
        self.created = create_time(self.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        return self._child.poll()

    def stop(self, timeout: float, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask it to end, then SIGKILL after `timeout` seconds; True when it ended by itself."""
        self.signal(number)
        if self._wait(timeout):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has let go of it."""
        self.signal(signal.SIGKILL)
        if not self._wait(KILL_WAIT_S):
            raise StartError(
                f"process {self.pid} ({self.name}) does not end after SIGKILL; the disk may hang"
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; an ended process is left alone."""
        self._child.send_signal(number)

    def await_ready(self, ready: Callable[[], bool], timeout: float, cancel: threading.Event) -> None:
        """Poll `ready` until it is true; StartError with the last log lines when it ends or time is up."""
        deadline = time.monotonic() + timeout
        while not ready():
            if cancel.is_set():
                raise StartError(f"{self.name} was stopped while it started")
            if self.exit_code is not None:
                if ready():  # for a set-up step the end is what was awaited, and it came just now
                    return
                raise StartError(last_words(how_it_ended(self.name, self.exit_code), self.tail()))
            if time.monotonic() > deadline:
                late = f"{self.name} was not ready within {timeout:.0f} s"
                raise StartError(last_words(late, self.tail()))
            cancel.wait(POLL_S)

    def tail(self, lines: int = LINES) -> str:
        """The last lines that this very process wrote."""
        return tail(self.log, lines, self._log_start)

    def _wait(self, timeout: float) -> bool:
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


def tail(log: Path, lines: int, start: int = 0) -> str:
    """The last lines after the byte `start`, read from the end so that the log's size does not matter."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        # A log shorter than it was has been cut since.
        stream.seek(max(0, size - 64 * 1024, start if start <= size else 0))
        text = stream.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    with append_own(command.log) as output:
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env=dict(command.env),
            start_new_session=True,
            user=command.user,
            group=command.group,
            extra_groups=None if command.user is None else (),
        )
