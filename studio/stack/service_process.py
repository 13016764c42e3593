"""One service of the table as a process on this machine, and one set-up step run to its end."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event

from studio.stack.causes import how_it_ended, last_words
from studio.stack.errors import StartError
from studio.stack.health import ask
from studio.stack.ports import LOOPBACK, listens
from studio.stack.process import Command, Process
from studio.stack.processes import Service, SetupStep
from studio.stack.project import PROJECT
from studio.stack.server import Server

READY_S = 60.0
STEP_S = 120.0


class ServiceProcess(Server):
    """uvicorn with the service's application factory, exactly as a container starts it."""

    def __init__(
        self, service: Service, port: int, log: Path, environment: Callable[[], Mapping[str, str]]
    ) -> None:
        super().__init__()
        self.service = service
        self.name = service.name
        self.port = port
        self.log = log
        # Called at each start: an address may be known only once the process before it runs.
        self._environment = environment

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start and return once /health/ready answers 200."""
        if self.running:
            return
        argv = (sys.executable, "-m", *self.service.command(LOOPBACK, self.port))
        process = self._spawn(Command(self.name, argv, self.log, self._environment(), PROJECT))
        try:
            process.await_ready(self._started, READY_S, self.cancel)
        except StartError:
            process.stop(5.0)
            raise

    def stop(self, timeout: float | None = None) -> None:
        """SIGTERM lets it finish what it is at, within its grace time."""
        if self._process:
            self._process.stop(self.service.grace_s if timeout is None else timeout)

    def healthy(self) -> bool:
        """Whether /health/ready answers 200."""
        return ask(self.port, "/health/ready").ok

    def _started(self) -> bool:
        # Were the port lost to another stack, that one's service would answer for this one.
        return self.healthy() and listens(self.pid, self.port)


def run_step(
    step: SetupStep, log: Path, environment: Mapping[str, str], arguments: Mapping[str, str]
) -> Process:
    """Start a set-up step; the caller awaits it with `await_end`."""
    argv = tuple(part.format(**arguments) for part in step.command)
    return Process(Command(step.name, (sys.executable, "-m", *argv), log, environment, PROJECT))


def await_end(process: Process, cancel: Event) -> None:
    """Wait for a set-up step. Raises StartError with its last lines when it fails or takes too long."""
    try:
        process.await_ready(lambda: process.exit_code is not None, STEP_S, cancel)
    except StartError:
        process.stop(5.0)
        raise
    if process.exit_code != 0:
        raise StartError(last_words(how_it_ended(process.name, process.exit_code), process.tail()))
