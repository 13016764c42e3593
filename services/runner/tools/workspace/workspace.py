"""The workspace of one session: reading, listing, and changes under a lock, within quotas, applied once."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from services.runner.tools.base import ToolError
from services.runner.tools.workspace.folder import (
    CREATE_FILE,
    Entry,
    Parts,
    entries,
    inside,
    look,
    opened,
    read,
    regular,
    unlink,
    usage,
)
from services.runner.tools.workspace.journal import Journal
from services.runner.tools.workspace.names import folder_name

LOCK_WAIT_S = 5.0
LOCK_POLL_S = 0.02

Result = dict[str, JsonValue]


@dataclass(frozen=True)
class Quota:
    file_bytes: int
    total_bytes: int
    files: int


class Workspace:
    """Blocking: call it in a thread. Made by `open_workspace`, valid inside its `with`."""

    def __init__(self, home: int, files: int, journal: Journal, quota: Quota) -> None:
        self._home = home
        self._files = files
        self._journal = journal
        self._quota = quota

    def listing(self, path: Parts) -> list[Entry]:
        with inside(self._files, path) as folder:
            return entries(folder)

    def read(self, path: Parts, offset: int, limit: int) -> tuple[bytes, int]:
        with inside(self._files, path[:-1]) as folder:
            return read(folder, path, offset, limit)

    def write(self, path: Parts, content: bytes, key: str) -> Result:
        with self._locked():
            return self._journal.applied(key) or self._put(path, content, key)

    def append(self, path: Parts, content: bytes, key: str) -> Result:
        with self._locked():
            return self._journal.applied(key) or self._put(path, self._old(path, len(content)) + content, key)

    def delete(self, path: Parts, key: str) -> Result:
        """Deleting what is not there is no error: that is how a repeated call finds it after a crash."""
        with self._locked():
            return self._journal.applied(key) or self._remove(path, key)

    def _old(self, path: Parts, added: int) -> bytes:
        if self._find(path) is None:
            return b""
        content, size = self.read(path, 0, self._quota.file_bytes)
        self._check_file(size + added)
        return content

    def _find(self, path: Parts) -> Entry | None:
        try:
            with inside(self._files, path[:-1]) as folder:
                return look(folder, path[-1])
        except ToolError:
            return None

    def _put(self, path: Parts, content: bytes, key: str) -> Result:
        self._check_file(len(content))
        self._journal.discard_leftovers()
        self._check_room(path, len(content))
        with inside(self._files, path[:-1], create=True) as folder:
            old = look(folder, path[-1])
            if old is not None:
                regular(old, path)
            result: Result = {"path": "/".join(path), "bytes": len(content), "created": old is None}
            self._journal.stage(key, content)
            self._journal.record(key, result)
            self._journal.release(key, folder, path[-1])
        return result

    def _remove(self, path: Parts, key: str) -> Result:
        deleted = self._find(path) is not None
        if deleted:
            with inside(self._files, path[:-1]) as folder:
                unlink(folder, path)
        result: Result = {"path": "/".join(path), "deleted": deleted}
        self._journal.record(key, result)
        return result

    def _check_file(self, size: int) -> None:
        if size > self._quota.file_bytes:
            raise ToolError(f"The file would have {size} bytes; a file may have {self._quota.file_bytes}.")

    def _check_room(self, path: Parts, size: int) -> None:
        used = usage(self._files, self._quota.files)
        old = self._find(path)
        there = next((known for known in range(len(path), 0, -1) if self._find(path[:known])), 0)
        if used.entries + len(path) - there > self._quota.files:
            raise ToolError(
                f"The workspace may hold {self._quota.files} files and folders; delete some first."
            )
        if used.size - (old.size if old else 0) + size > self._quota.total_bytes:
            most = self._quota.total_bytes
            raise ToolError(
                f"The workspace holds {used.size} bytes of the {most} it may; delete files first."
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, also across processes; waiting is bounded."""
        descriptor = os.open("lock", CREATE_FILE, 0o600, dir_fd=self._home)
        deadline = time.monotonic() + LOCK_WAIT_S
        try:
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise ToolError("Another call is changing the workspace; try again.")
                time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def open_workspace(base: Path, project: str, owner: str, quota: Quota) -> Iterator[Workspace]:
    """The workspace at base/project/owner, made if it is new; the agent sees its `files` folder alone."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = stack.enter_context(opened(base.resolve()))
        for name in (folder_name(project), folder_name(owner)):
            home = stack.enter_context(opened(name, home, create=True))
        files = stack.enter_context(opened("files", home, create=True))
        records = stack.enter_context(opened("journal", home, create=True))
        staged = stack.enter_context(opened("staged", home, create=True))
        yield Workspace(home, files, Journal(records, staged), quota)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
