"""Acting on a stack from outside its supervisor: start one in the background, end one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.orphans import end_orphans
from studio.stack.ownership import append_own
from studio.stack.project import PROJECT, check_project
from studio.stack.state import StackState, read_state

START_S = 180.0
# Above the sum of all grace times, so that an orderly stop is never called stuck.
STOP_S = 150.0
POLL_S = 0.1


def start_detached(
    folder: DataFolder, port: int | None, listener: Callable[[StackState], None]
) -> StackState:
    """Start a supervisor that outlives this command; returns once it is ready.

    Raises AlreadyRunning, or StackError with what the supervisor said when it ends instead.
    """
    check_project()
    folder.prepare()
    if FolderLock(folder).owner():
        # Found out here, so that the output of the one that runs is left alone.
        raise AlreadyRunning(f"a stack is already running in {folder.root}")
    output = folder.logs / "detached.out"
    argv = [sys.executable, "-m", "studio.stack", "--folder", str(folder.root)]
    argv += ["--port", str(port)] if port else []
    output.unlink(missing_ok=True)
    with append_own(output) as stream:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=PROJECT, start_new_session=True
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise StackError(
                output.read_text(errors="replace").strip() or f"it ended with code {child.returncode}"
            )
        state = read_state(folder.state_file)
        if state and state.supervisor_pid == child.pid:
            listener(state)
            if state.status == "ready":
                return state
        time.sleep(POLL_S)
    child.terminate()
    raise StackError(f"the stack was not ready within {START_S:.0f} s; see the logs in {folder.logs}")


def stop_running(folder: DataFolder, listener: Callable[[StackState], None]) -> bool:
    """Ask the supervisor to stop and wait for it; False when none was running.

    What an earlier supervisor left behind is ended too.
    """
    lock = FolderLock(folder)
    owner = lock.owner()
    if owner:
        _signal(owner, signal.SIGTERM)
        _await_release(folder, lock, owner, listener)
    return _end_rest(folder) or bool(owner)


def kill_running(folder: DataFolder) -> bool:
    """SIGKILL the supervisor, then end its processes; for one that does not stop by itself."""
    owner = FolderLock(folder).owner()
    if owner:
        _signal(owner, signal.SIGKILL)
    return _end_rest(folder) or bool(owner)


def _signal(owner: int, number: signal.Signals) -> None:
    try:
        os.kill(owner, number)
    except ProcessLookupError:
        return  # it ended by itself just now
    except PermissionError as error:
        raise StackError(f"the supervisor {owner} belongs to another user; stop it as that user") from error


def _await_release(
    folder: DataFolder, lock: FolderLock, owner: int, listener: Callable[[StackState], None]
) -> None:
    deadline = time.monotonic() + STOP_S
    while lock.owner() == owner:
        if time.monotonic() > deadline:
            raise StackError(
                f"supervisor {owner} did not stop within {STOP_S:.0f} s; `studio down --force` ends it"
            )
        if state := read_state(folder.state_file):
            listener(state)
        time.sleep(POLL_S)


def _end_rest(folder: DataFolder) -> bool:
    if not folder.root.exists():
        return False
    lock = FolderLock(folder)
    deadline = time.monotonic() + 5.0
    while lock.owner() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    lock.acquire()
    try:
        ended = end_orphans(folder)
        folder.state_file.unlink(missing_ok=True)
    finally:
        lock.release()
    return ended > 0


def owner_state(folder: DataFolder) -> StackState | None:
    """The state of the stack that runs in the folder, if one does."""
    return read_state(folder.state_file) if FolderLock(folder).owner() else None
