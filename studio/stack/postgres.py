"""A Postgres server in a folder of its own, on the loopback address.

Who it runs as is decided in `postgres_account.py`, its folder is made in `postgres_cluster.py`; the
schema is applied elsewhere (Alembic).
"""

import os
import signal
from pathlib import Path

import psutil

from studio.stack.errors import StartError
from studio.stack.other_processes import end_processes
from studio.stack.ports import LOOPBACK, free_port
from studio.stack.postgres_account import Account, choose_account
from studio.stack.postgres_cluster import DATABASE, ROLE, create_cluster, find_programs, settings
from studio.stack.process import Command
from studio.stack.server import Server

READY_S = 60.0


class PostgresServer(Server):
    """Port 0 takes a free port at the first start and keeps it.

    `fsync=False` is for tests that may lose everything. The role `studio` owns the database `studio`,
    may create databases and roles, and is no superuser.
    """

    name = "postgres"

    def __init__(self, folder: Path, *, port: int = 0, fsync: bool = True, log: Path | None = None) -> None:
        super().__init__()
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.log = log or self.folder / "postgres.log"
        self.port = port
        self._fsync = fsync
        self._attempts = 1 if port else 5

    @property
    def url(self) -> str:
        """Holds the password; `postgresql://studio:…@127.0.0.1:PORT/studio`."""
        return self.database_url(DATABASE)

    def database_url(self, database: str) -> str:
        """The same server and role, another database."""
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> None:
        """Create the data folder at first, heal what a crash left, return once connections are accepted."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        programs = find_programs()
        account = choose_account(programs, self.folder)
        if not self.data.exists():
            create_cluster(programs, self.folder, account, fsync=self._fsync)
        end_leftover(self.data)
        for attempt in range(self._attempts):
            try:
                self._start_once(programs, account)
            except StartError:
                if attempt + 1 == self._attempts or "Address already in use" not in self.process.tail():
                    raise
                self.port = 0
            else:
                self._attempts = 1
                return

    def stop(self, timeout: float = 30.0) -> None:
        """Fast shutdown: open transactions are rolled back, committed ones are on disk."""
        if self._process:
            self._process.stop(timeout, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL the server and all its backends, as a crash of the machine would."""
        backends = psutil.Process(self.pid).children(recursive=True)
        self.process.kill()
        end_processes(backends, timeout=0)

    def healthy(self) -> bool:
        """Whether this very process says that it accepts connections."""
        return accepts_connections(self.data, self.pid)

    def _start_once(self, programs: Path, account: Account) -> None:
        self.port = self.port or free_port()
        values = settings(programs, port=self.port, fsync=self._fsync)
        flags = [part for key, value in values.items() for part in ("-c", f"{key}={value}")]
        argv = account.command(str(programs / "postgres"), "-D", str(self.data), *flags)
        user, group = account.spawn_ids
        process = self._spawn(Command(self.name, argv, self.log, _environment(), user=user, group=group))
        try:
            process.await_ready(self.healthy, READY_S, self.cancel)
        except StartError:
            process.stop(5.0, signal.SIGINT)
            raise


def accepts_connections(data: Path, pid: int) -> bool:
    """Whether the server with that pid wrote that it is ready."""
    lines = _pid_file(data)
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7] == "ready"


def end_leftover(data: Path) -> None:
    """End the processes that an earlier owner of the folder left running, and remove a wrong pid file.

    Backends whose server was killed live on until their query ends, and a new server refuses to start
    beside them. It also refuses while any process has the recorded pid, even one that merely got the
    number, and when a power cut left the file empty.
    """
    recorded = _recorded_pid(data)
    leftover = [process for process in psutil.process_iter(["name"]) if _works_in(process, data)]
    for process in leftover:
        if process.pid == recorded:
            process.send_signal(signal.SIGINT)
            end_processes([process], timeout=10)
    end_processes(leftover, timeout=0)
    if not recorded or psutil.pid_exists(recorded):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _works_in(process: psutil.Process, data: Path) -> bool:
    if process.info["name"] != "postgres":
        return False
    try:
        return process.cwd() == str(data)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _recorded_pid(data: Path) -> int:
    lines = _pid_file(data)
    return int(lines[0]) if lines and lines[0].isdigit() else 0


def _pid_file(data: Path) -> list[str]:
    """Lines of postmaster.pid: the pid first, the state eighth; empty when there is none."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
