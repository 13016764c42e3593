"""What every long-running process of the stack has in common: started until ready, ended within a bound."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from studio.stack.errors import StackError, StartError
from studio.stack.process import Command, Process


class Server(ABC):
    """Blocking, every wait bounded; can be started again on the same port after it ended."""

    name: str
    log: Path
    port: int

    def __init__(self) -> None:
        self._process: Process | None = None
        # Two hooks for an owner. `cancel` is set to shut down: nothing is started any more, no readiness
        # awaited. `on_spawn` hears of a new process before it is ready.
        self.cancel = threading.Event()
        self.on_spawn: Callable[[Server], None] = _nobody_listens

    @property
    def process(self) -> Process:
        """The latest process, ended or not."""
        if self._process is None:
            raise StackError(f"{self.name} was not started; call start() first")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def _spawn(self, command: Command) -> Process:
        if self.cancel.is_set():
            raise StartError(f"{self.name} is not started: the stack is being stopped")
        self._process = Process(command)
        self.on_spawn(self)
        return self._process

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    @abstractmethod
    def start(self) -> None:
        """Start and return once it is ready. Raises StartError with the last log lines."""

    @abstractmethod
    def stop(self, timeout: float = 15.0) -> None:
        """Ask it to end, SIGKILL after `timeout` seconds; nothing happens when it does not run."""

    @abstractmethod
    def healthy(self) -> bool:
        """Whether it answers that it can do its work."""

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def restart(self) -> None:
        """Stop, then start on the same port and folder."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _nobody_listens(server: Server) -> None:
    """The hook of a server without an owner."""
