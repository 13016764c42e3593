"""How a stack is right now: its recorded state, and what each process answers when asked for its health."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import psutil

from studio.stack.folder import DataFolder, FolderLock
from studio.stack.health import ask
from studio.stack.other_processes import same_process
from studio.stack.ports import LOOPBACK
from studio.stack.postgres import accepts_connections
from studio.stack.processes import BROKER
from studio.stack.state import ProcessState, StackState, read_state


@dataclass(frozen=True)
class ProcessReport:
    """One process. `detail` says what a process that is not healthy answered."""

    name: str
    kind: str
    status: str
    healthy: bool
    detail: str
    pid: int
    port: int
    url: str
    restarts: int
    memory_mb: float
    log: str


@dataclass(frozen=True)
class StackReport:
    """`abandoned`: the supervisor is gone, but processes of it still run."""

    status: Literal["starting", "ready", "stopping", "stopped", "abandoned"]
    healthy: bool
    folder: str
    key_file: str
    gateway_url: str = ""
    nats_monitor_url: str = ""
    provider: str = ""
    provider_url: str = ""
    supervisor_pid: int = 0
    uptime_s: float = 0.0
    memory_mb: float = 0.0
    notes: tuple[str, ...] = ()
    processes: tuple[ProcessReport, ...] = ()

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def report(folder: DataFolder) -> StackReport:
    """Ask everything at once; takes at most a few seconds, also when nothing answers."""
    state = read_state(folder.state_file)
    owner = FolderLock(folder).owner()
    if state is None or (not owner and not _alive(state)):
        status: Literal["starting", "stopped"] = "starting" if owner else "stopped"
        return StackReport(status, False, str(folder.root), str(folder.key_file), supervisor_pid=owner)
    lasting = [process for process in state.processes if process.kind != "setup"]
    with ThreadPoolExecutor(max_workers=len(lasting)) as pool:
        processes = tuple(pool.map(partial(_process_report, state), lasting))
    return StackReport(
        status=state.status if owner else "abandoned",
        healthy=bool(owner) and state.status == "ready" and all(process.healthy for process in processes),
        folder=state.folder,
        key_file=state.key_file,
        gateway_url=state.gateway_url,
        nats_monitor_url=f"http://{LOOPBACK}:{state.monitor_port}",
        provider=state.provider,
        provider_url=state.provider_url,
        supervisor_pid=owner,
        uptime_s=round(time.time() - state.started_at, 1),
        memory_mb=round(sum(each.memory_mb for each in processes) + memory_mb(owner, children=False), 1),
        notes=state.notes,
        processes=processes,
    )


def memory_mb(pid: int, *, children: bool = True) -> float:
    """What the process and its children hold; pages that they share count once where the kernel tells."""
    if not pid:
        return 0.0
    try:
        process = psutil.Process(pid)
        family = [process, *(process.children(recursive=True) if children else [])]
        return round(sum(map(_bytes, family)) / 1024**2, 1)
    except psutil.NoSuchProcess:
        return 0.0


def _bytes(process: psutil.Process) -> int:
    try:
        held: int = process.memory_full_info().pss
    except (psutil.Error, AttributeError):
        held = process.memory_info().rss if process.is_running() else 0
    return held


def _alive(state: StackState) -> bool:
    return any(each.pid and same_process(each.pid, each.created) for each in state.processes)


def _process_report(state: StackState, process: ProcessState) -> ProcessReport:
    alive = same_process(process.pid, process.created)
    healthy, detail = _health(state, process) if alive else (False, "does not run")
    return ProcessReport(
        name=process.name,
        kind=process.kind,
        status=process.status,
        healthy=healthy,
        detail=detail or process.note,
        pid=process.pid if alive else 0,
        port=process.port,
        url=_url(process),
        restarts=process.restarts,
        memory_mb=memory_mb(process.pid) if alive else 0.0,
        log=process.log,
    )


def _health(state: StackState, process: ProcessState) -> tuple[bool, str]:
    if process.kind == "service":
        answer = ask(process.port, "/health/ready")
    elif process.name == BROKER:
        answer = ask(state.monitor_port, "/healthz")
    else:
        ready = accepts_connections(DataFolder(Path(state.folder)).postgres / "data", process.pid)
        return ready, "" if ready else "does not accept connections"
    return answer.ok, "" if answer.ok else f"{answer.status or 'no answer'}: {answer.body[:300]}"


def _url(process: ProcessState) -> str:
    schemes: Mapping[str, str] = {"nats": "nats://", "postgres": "postgresql://studio@"}
    suffix = "/studio" if process.name == "postgres" else ""
    return f"{schemes.get(process.name, 'http://')}{LOOPBACK}:{process.port}{suffix}"
