"""Finding free TCP ports on the loopback address; whoever takes one must still cope with losing it."""

import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from studio.stack.errors import StackError
from studio.stack.ownership import open_own

LOOPBACK = "127.0.0.1"
MOST_TRIES = 100


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(pid: int, port: int) -> bool:
    """Whether this very process, and not some other, is the one that listens on the port."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


class PortClaims:
    """Ports that this stack chose, kept from other stacks of the same user until they are released.

    Between finding a port free and listening on it lie seconds, in which stacks that start together would
    all choose the same one. A claim is a locked file, which the kernel frees with the process.
    """

    def __init__(self) -> None:
        self._claims: dict[int, int] = {}
        self._folder = Path(tempfile.gettempdir()) / f"studio-ports-{os.getuid()}"

    def choose(self, preferred: int) -> int:
        """The preferred port, else the next one above it that is free and claimed by nobody, else any."""
        for port in range(preferred, min(preferred + 50, 65536)):
            if self._claim(port):
                return port
        for _ in range(MOST_TRIES):
            if self._claim(port := free_port()):
                return port
        raise StackError(f"no free port was found in {MOST_TRIES} tries; end what holds so many of them")

    def release(self) -> None:
        """Let others choose the ports again."""
        for descriptor in self._claims.values():
            os.close(descriptor)
        self._claims.clear()

    def _claim(self, port: int) -> bool:
        if port in self._claims or not is_free(port):
            return False
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = open_own(self._folder / str(port), os.O_RDWR | os.O_CREAT)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claims[port] = descriptor
            return True
        os.close(descriptor)
        return False
