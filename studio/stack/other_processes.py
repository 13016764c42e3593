"""Processes known by their pid only, most of them not our children: recognised, waited for, ended."""

import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from studio.stack.errors import StackError

KILL_WAIT_S = 10.0
CLOCK_S = 2.0


def create_time(pid: int) -> float:
    """When the process was created (seconds since the epoch); 0.0 when there is no such process.

    A pid alone may have been given to someone else since; the pair of both cannot.
    """
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def same_process(pid: int, created: float) -> bool:
    """Whether the process that had the pid then still runs; the clock may have been corrected since."""
    return bool(pid) and abs(create_time(pid) - created) < CLOCK_S


def end_processes(processes: Sequence[psutil.Process], timeout: float) -> None:
    """Wait up to `timeout` seconds for processes that are not our children, then SIGKILL the rest."""
    if not _all_ended(processes, timeout):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if not _all_ended(processes, KILL_WAIT_S):
            raise StackError(f"processes {[each.pid for each in processes if _alive(each)]} survive SIGKILL")


def _all_ended(processes: Sequence[psutil.Process], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while any(map(_alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _alive(process: psutil.Process) -> bool:
    """A zombie has ended: whoever is its parent now has just not looked yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
