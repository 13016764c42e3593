"""Keeping what was started alive: a process that ends is started again, later and later while it fails."""

import math
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from studio.backoff import doubled
from studio.stack.causes import how_it_ended
from studio.stack.errors import StackError
from studio.stack.server import Server
from studio.stack.state import ProcessStatus

POLL_S = 0.2


@dataclass(frozen=True)
class Backoff:
    """Seconds before the n-th restart in a row; a run of `healthy_s` seconds starts the count again."""

    first_s: float = 0.5
    most_s: float = 30.0
    healthy_s: float = 60.0

    def delay(self, failures: int) -> float:
        """`failures` counts from 1."""
        return doubled(self.first_s, self.most_s, failures)


Report = Callable[[Server, ProcessStatus, str], None]
"""Told (server, status, note) at every change."""


class Watcher:
    """One thread per server. Set `server.cancel` before `join`, so that nothing is started any more."""

    def __init__(self, servers: Iterable[Server], report: Report, backoff: Backoff) -> None:
        self._report = report
        self._backoff = backoff
        self._threads = [
            threading.Thread(target=self._watch, args=(server,), name=f"watch-{server.name}", daemon=True)
            for server in servers
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float = 30.0) -> None:
        """Wait for the threads; raises StackError when one does not end."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            raise StackError(f"threads {stuck} do not end")

    def _watch(self, server: Server) -> None:
        failures, ready_at = 0, time.monotonic()
        while not server.cancel.wait(POLL_S):
            if server.running:
                continue
            healthy = time.monotonic() - ready_at > self._backoff.healthy_s
            failures = 1 if healthy else failures + 1
            delay = self._backoff.delay(failures)
            ended = how_it_ended(server.name, server.process.exit_code)
            self._report(server, "restarting", f"{ended}; starting it again in {delay:.1f} s")
            if server.cancel.wait(delay):
                return
            ready_at = time.monotonic() if self._restart(server) else math.inf

    def _restart(self, server: Server) -> bool:
        try:
            server.start()
        except (StackError, OSError, subprocess.SubprocessError) as error:
            # Not ready is as good as ended: the loop finds it stopped and waits longer.
            self._report(server, "failed", str(error))
            return False
        self._report(server, "ready", "started again")
        return True
