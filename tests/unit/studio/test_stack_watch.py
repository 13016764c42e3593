"""A process that ends is started again, later and later while it fails, and never after a stop."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.stack.errors import StartError
from studio.stack.process import Command
from studio.stack.server import Server
from studio.stack.state import ProcessStatus
from studio.stack.watch import Backoff, Watcher

FAST = Backoff(first_s=0.01, most_s=0.04, healthy_s=60)


class Sleeper(Server):
    """A process that does nothing; its first `failing` restarts are not ready."""

    name = "sleeper"
    port = 0
    url = ""

    def __init__(self, log: Path, failing: int = 0) -> None:
        super().__init__()
        self.log = log
        self.failing = failing

    def start(self) -> None:
        self._spawn(Command(self.name, ("sleep", "60"), self.log, {"PATH": "/usr/bin:/bin"}))
        if self.failing:
            self.failing -= 1
            self.kill()
            raise StartError("was not ready")

    def stop(self, timeout: float = 5.0) -> None:
        self.process.stop(timeout)

    def healthy(self) -> bool:
        return self.running


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    server = Sleeper(tmp_path / "sleeper.log")
    server.start()
    yield server
    server.cancel.set()
    server.stop()


class Reports:
    """What a watcher told, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[tuple[ProcessStatus, str]] = []
        self.ready = threading.Event()

    def __call__(self, server: Server, status: ProcessStatus, note: str) -> None:
        self.all.append((status, note))
        if status == "ready":
            self.ready.set()


def test_delays_double_up_to_a_bound() -> None:
    backoff = Backoff(first_s=0.5, most_s=30)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 7, 1000)] == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_a_killed_process_is_started_again_and_its_end_is_told(sleeper: Sleeper) -> None:
    reports = Reports()
    watcher = Watcher([sleeper], reports, FAST)
    watcher.start()
    sleeper.kill()
    assert reports.ready.wait(10)
    assert sleeper.running
    assert reports.all[0] == ("restarting", "sleeper was killed by signal 9; starting it again in 0.0 s")
    sleeper.cancel.set()
    watcher.join()


def test_a_process_that_keeps_failing_is_tried_again_later_and_later(sleeper: Sleeper) -> None:
    reports = Reports()
    sleeper.failing = 3
    backoff = Backoff(first_s=0.1, most_s=0.4, healthy_s=60)
    watcher = Watcher([sleeper], reports, backoff)
    watcher.start()
    sleeper.kill()
    assert reports.ready.wait(20)
    waits = [note.split(" in ")[1] for status, note in reports.all if status == "restarting"]
    assert waits == ["0.1 s", "0.2 s", "0.4 s", "0.4 s"]
    assert [note for status, note in reports.all if status == "failed"] == ["was not ready"] * 3
    sleeper.cancel.set()
    watcher.join()


def test_nothing_is_started_after_a_stop(sleeper: Sleeper) -> None:
    watcher = Watcher([sleeper], Reports(), Backoff(first_s=60, most_s=60))
    watcher.start()
    sleeper.kill()
    sleeper.cancel.set()
    watcher.join(timeout=10)
    assert not sleeper.running
    with pytest.raises(StartError, match="is being stopped"):
        sleeper.start()
