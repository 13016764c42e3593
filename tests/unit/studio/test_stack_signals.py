"""A supervisor as a process of its own: signals, kills, closed terminals, and what they leave behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from studio.cli import app
from studio.stack.folder import DataFolder
from studio.stack.orphans import end_orphans, find_orphans
from studio.stack.project import PROJECT
from studio.stack.state import ProcessState, read_state
from studio.stack.status import report
from studio.stack.supervisor import Stack
from tests.support.waiting import eventually, run_alone
from tests.unit.studio.test_stack_supervisor import READY_S, options, pids_of, ready_state

# A supervisor as `studio up` makes it, with the stand-ins of the folder given.
SUPERVISOR = """
import sys
from pathlib import Path
from rich.console import Console
from studio.stack.foreground import run
from tests.unit.studio.test_stack_supervisor import options
try:
    run(Path(sys.argv[1]), options(Path(sys.argv[2])), Console())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor as a process of its own, ready, in tmp_path/data."""
    argv = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "data"), str(tmp_path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT
    ) as process:
        try:
            run_alone(
                eventually(
                    lambda: ready_state(tmp_path / "data") or process.poll() is not None, within_s=READY_S
                )
            )
            assert process.stdout
            assert process.poll() is None, process.stdout.read()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
            end_orphans(DataFolder.at(tmp_path / "data"))


def _recorded(data: DataFolder, name: str) -> ProcessState:
    state = read_state(data.state_file)
    assert state
    return state.process(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(
    supervisor: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    state = read_state(tmp_path / "data" / "state.json")
    assert state
    supervisor.send_signal(number)
    output, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 0
    assert [pid for pid in pids_of(state) if psutil.pid_exists(pid)] == []
    said_last = output.partition("stopping; Ctrl-C again")[2].splitlines()
    stopped = [line.split()[1] for line in said_last if line.endswith(" stopped")]
    assert stopped[:2] == ["gateway", "runner"]
    assert sorted(stopped[2:6]) == ["cost", "recorder", "replayer", "simulator"]
    assert stopped[6:] == ["nats", "postgres"]
    assert not (tmp_path / "data" / "state.json").exists()


def test_a_closed_terminal_keeps_it_neither_from_restarting_nor_from_stopping(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    data = DataFolder.at(tmp_path / "data")
    assert supervisor.stdout
    supervisor.stdout.close()
    os.kill(_recorded(data, "runner").pid, signal.SIGKILL)
    run_alone(eventually(lambda: _recorded(data, "runner").restarts == 1, within_s=READY_S))
    supervisor.send_signal(signal.SIGHUP)
    assert supervisor.wait(30) == 0
    assert find_orphans(data) == []
    assert not data.state_file.exists()


def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "data"), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=PROJECT) as process:
        run_alone(eventually((tmp_path / "data" / "state.json").exists, within_s=READY_S))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert find_orphans(DataFolder.at(tmp_path / "data")) == []


def test_the_next_start_ends_what_a_killed_supervisor_left(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    supervisor.kill()
    supervisor.wait(10)
    data = DataFolder.at(tmp_path / "data")
    left = read_state(data.state_file)
    assert left
    assert report(data).status == "abandoned"
    assert len(find_orphans(data)) == 8
    with Stack(data.root, options(tmp_path)) as stack:
        assert "ended 8 processes" in stack.state.notes[0]
        assert [pid for pid in pids_of(left) if pid in pids_of(stack.state)] == []
        assert report(data).healthy
    assert find_orphans(data) == []


def test_orphans_are_found_without_a_state_file(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    supervisor.kill()
    supervisor.wait(10)
    data = DataFolder.at(tmp_path / "data")
    data.state_file.write_text("{ half a fi")
    assert len(find_orphans(data)) == 8
    result = CliRunner().invoke(app, ["down", "--folder", str(data.root)])
    assert (result.exit_code, result.output) == (0, "stopped\n")
    assert find_orphans(data) == []


def test_down_asks_the_supervisor_and_waits_for_it(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path / "data")]
    result = CliRunner().invoke(app, ["down", *folder])
    assert result.exit_code == 0
    assert result.output.endswith("stopped\n")
    assert find_orphans(DataFolder.at(tmp_path / "data")) == []
    supervisor.communicate(timeout=10)
    assert supervisor.returncode == 0
    again = CliRunner().invoke(app, ["down", *folder])
    assert (again.exit_code, again.output.startswith("nothing runs in")) == (0, True)
    assert CliRunner().invoke(app, ["status", *folder]).exit_code == 3


def test_down_by_force_ends_a_supervisor_that_hangs(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    supervisor.send_signal(signal.SIGSTOP)
    result = CliRunner().invoke(app, ["down", "--force", "--folder", str(tmp_path / "data")])
    assert result.exit_code == 0
    assert find_orphans(DataFolder.at(tmp_path / "data")) == []
    assert supervisor.wait(10) == -9
