"""The data folder of a stack: where everything lies, who may read it, and who holds it."""

import base64
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.other_processes import create_time, same_process
from studio.stack.ownership import check_own, open_own, read_or_make_secret

DEFAULT = Path(".studio")
OWNER_S = 2.0


@dataclass(frozen=True)
class DataFolder:
    """Paths below `root`, which is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "DataFolder":
        return cls(path.expanduser().resolve())

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def state_file(self) -> Path:
        return self.root / "state.json"

    @property
    def key_file(self) -> Path:
        return self.root / "api-key"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the folders. Only the root may be passed by others: root's database runs as another user."""
        check_own(self.root)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o711)
            for folder in (self.nats, self.logs, self.workspace):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise StackError(f"cannot write the data folder {self.root}: {error.strerror}") from error

    def pepper(self) -> str:
        """The secret that API keys are hashed with; made once. Without it every stored key is worthless."""
        return read_or_make_secret(self.root / "api-key-pepper")

    def bundle_key(self) -> str:
        """What this stack signs its bundles with; made once. Others know it by its public half."""
        seed = bytes.fromhex(read_or_make_secret(self.root / "bundle-signing-key"))
        return base64.b64encode(seed).decode()


class FolderLock:
    """Held by the one supervisor of a folder; the kernel releases it with the process: it cannot go stale."""

    def __init__(self, folder: DataFolder) -> None:
        self._file = folder.lock_file
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises AlreadyRunning when another process has it."""
        descriptor = open_own(self._file, os.O_RDWR | os.O_CREAT)
        # Someone who only asks for the owner holds the lock for a moment, too.
        deadline = time.monotonic() + OWNER_S
        while not _locked(descriptor):
            if self.owner() or time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunning(f"a stack is already running in {self._file.parent}")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {create_time(os.getpid())}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def in_place(self) -> bool:
        """Whether the lock is held and its file is still where others look for it."""
        if self._descriptor is None:
            return False
        try:
            there = self._file.lstat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def owner(self) -> int:
        """The pid of the process that has the lock now; 0 when nobody has it."""
        deadline = time.monotonic() + OWNER_S
        while (owner := self._look()) is None:
            if time.monotonic() > deadline:
                raise StackError(f"{self._file} is locked, but names no process that lives")
            time.sleep(0.01)
        return owner

    def _look(self) -> int | None:
        """None while the owner has not written its name yet."""
        try:
            descriptor = open_own(self._file, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        with os.fdopen(descriptor) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, created = stream.read().partition(" ")
                return int(pid) if created and same_process(int(pid), float(created)) else None
            return 0


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
