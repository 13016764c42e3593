"""Processes that outlived a supervisor which was killed: found by record, mark or command line, and ended."""

import signal
from pathlib import Path

import psutil

from studio.stack.environment import MARK
from studio.stack.folder import DataFolder
from studio.stack.other_processes import end_processes, same_process
from studio.stack.state import read_state

SERVERS = ("nats-server", "postgres")


def find_orphans(folder: DataFolder) -> list[psutil.Process]:
    """Live processes of this folder. Ask only while nobody holds its lock (or to show what runs)."""
    recorded = _recorded(folder)
    found = [process for process in psutil.process_iter() if _belongs(process, folder.root, recorded)]
    pids = {process.pid for process in found}
    # The database's backends end with their server; ending them one by one would look like crashes to it.
    return [process for process in found if _parent(process) not in pids]


def end_orphans(folder: DataFolder) -> int:
    """End the orphans, services before the servers they use; returns how many there were."""
    orphans = find_orphans(folder)
    services = [process for process in orphans if _name(process) not in SERVERS]
    servers = [process for process in orphans if process not in services]
    for group, wait_s in ((services, 5.0), (servers, 15.0)):
        for process in group:
            _signal(process)
        end_processes(group, wait_s)
    return len(orphans)


def _recorded(folder: DataFolder) -> dict[int, float]:
    state = read_state(folder.state_file)
    return {each.pid: each.created for each in state.processes if each.pid} if state else {}


def _belongs(process: psutil.Process, root: Path, recorded: dict[int, float]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.pid in recorded and same_process(process.pid, recorded[process.pid]):
            return True
        if process.name() in SERVERS:
            return any(part.startswith(f"{root}/") for part in process.cmdline())
        return process.environ().get(MARK) == str(root)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _signal(process: psutil.Process) -> None:
    # For the database an interrupt is the fast shutdown, while SIGTERM waits for its clients.
    number = signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
