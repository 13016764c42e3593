"""Which changes were applied, so that a call that is repeated after a crash is not applied twice.

A change is staged as a file named by its key; its record is written; then the staged file is renamed into
place. So a key counts as applied exactly when it has a record and its staged file is gone, and a crash
between any two of these steps leaves no doubt. Blocking, and only under the workspace's lock.
"""

import hashlib
import json
import os

from pydantic import JsonValue

from services.runner.tools.workspace.folder import CREATE_FILE, OPEN_FILE, names

MAX_RECORDS = 1000
MAX_RECORD_BYTES = 16 * 1024


class Journal:
    """Records and staged files, each in a folder of their own outside what the agent sees."""

    def __init__(self, records: int, staged: int) -> None:
        self._records = records
        self._staged = staged

    def applied(self, key: str) -> dict[str, JsonValue] | None:
        """What the change with this key returned, None when it is not applied."""
        name = _name(key)
        if name in names(self._staged):
            return None
        try:
            descriptor = os.open(name, OPEN_FILE, dir_fd=self._records)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            record: dict[str, JsonValue] = json.loads(file.read(MAX_RECORD_BYTES))
        return record

    def discard_leftovers(self) -> None:
        """Forget what a crash left half done; the record goes first, so that it never looks applied."""
        for name in names(self._staged):
            _remove(name, self._records)
            os.fsync(self._records)
            _remove(name, self._staged)

    def stage(self, key: str, content: bytes) -> None:
        _write(_name(key), self._staged, content)

    def record(self, key: str, result: dict[str, JsonValue]) -> None:
        self._forget_oldest()
        # A torn record must not be taken for one: it is renamed into place whole.
        _write("new", self._records, json.dumps(result).encode())
        os.rename("new", _name(key), src_dir_fd=self._records, dst_dir_fd=self._records)
        os.fsync(self._records)

    def release(self, key: str, folder: int, name: str) -> None:
        """Put the staged file in its place: this is the moment at which the change is applied."""
        os.rename(_name(key), name, src_dir_fd=self._staged, dst_dir_fd=folder)
        os.fsync(folder)
        os.fsync(self._staged)

    def _forget_oldest(self) -> None:
        kept = names(self._records)
        if len(kept) < MAX_RECORDS:
            return
        by_age = sorted(kept, key=lambda name: os.stat(name, dir_fd=self._records).st_mtime_ns)
        for name in by_age[: MAX_RECORDS // 2]:
            _remove(name, self._records)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _write(name: str, folder: int, content: bytes) -> None:
    with os.fdopen(os.open(name, CREATE_FILE, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
