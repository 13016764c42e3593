"""Files below one folder, reached name by name from its descriptor, so that no link leads out of it.

A check of the whole path followed by an open would leave time to swap a folder for a link; here every step
opens the next name in the folder already held, and refuses links. Blocking: call it in a thread.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from services.runner.tools.base import ToolError

Parts = tuple[str, ...]
Kind = Literal["file", "folder", "other"]
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    name: str
    kind: Kind
    size: int


@dataclass(frozen=True)
class Usage:
    entries: int
    size: int


@contextmanager
def opened(name: str | os.PathLike[str], dir_fd: int | None = None, create: bool = False) -> Iterator[int]:
    """The descriptor of a folder, made with mode 0700 if asked; a link in its place is refused (OSError)."""
    if create:
        make_folder(name, dir_fd)
    descriptor = os.open(name, OPEN_FOLDER, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(name: str | os.PathLike[str], dir_fd: int | None) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    except FileExistsError:
        return
    if dir_fd is not None:
        os.fsync(dir_fd)


@contextmanager
def inside(root: int, parts: Parts, create: bool = False) -> Iterator[int]:
    """The descriptor of a folder below `root`; raises ToolError when a part is missing or is no folder."""
    descriptor = os.dup(root)
    try:
        for index, name in enumerate(parts):
            deeper = _step(descriptor, parts[: index + 1], name, create)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _step(descriptor: int, path: Parts, name: str, create: bool) -> int:
    try:
        if create:
            make_folder(name, descriptor)
        return os.open(name, OPEN_FOLDER, dir_fd=descriptor)
    except FileNotFoundError:
        raise ToolError(
            f"There is no folder {shown(path)}; list the workspace to see what there is."
        ) from None
    except OSError:
        raise ToolError(f"{shown(path)} is not a folder; name a folder of the workspace.") from None


def look(folder: int, name: str) -> Entry | None:
    """What the name stands for in the folder, a link never followed; None when there is nothing."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Entry(name, _kind(status), status.st_size)


def _kind(status: os.stat_result) -> Kind:
    """A second hard link may stand outside the workspace, so such a file counts as none of ours."""
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    return "file" if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else "other"


def read(folder: int, path: Parts, offset: int, limit: int) -> tuple[bytes, int]:
    """Up to `limit` bytes from `offset`, and the size of the file."""
    regular(look(folder, path[-1]), path)
    # The name may have been swapped since it was looked at: the open file is what counts.
    descriptor = os.open(path[-1], OPEN_FILE, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        regular(Entry(path[-1], _kind(status), status.st_size), path)
        return os.pread(descriptor, limit, offset), status.st_size
    finally:
        os.close(descriptor)


def regular(entry: Entry | None, path: Parts) -> Entry:
    """The entry, if it is a plain file; else ToolError in words."""
    if entry is None:
        raise ToolError(f"There is no file {shown(path)}; list the workspace to see what there is.")
    if entry.kind != "file":
        what = "a folder" if entry.kind == "folder" else "not a plain file"
        raise ToolError(f"{shown(path)} is {what}; name a plain file.")
    return entry


def names(folder: int) -> list[str]:
    return os.listdir(folder)


def entries(folder: int) -> list[Entry]:
    found = [look(folder, name) for name in sorted(names(folder))]
    return [entry for entry in found if entry is not None]


def unlink(folder: int, path: Parts) -> None:
    """Remove a file, a link itself, or an empty folder."""
    entry = look(folder, path[-1])
    try:
        if entry is not None and entry.kind == "folder":
            os.rmdir(path[-1], dir_fd=folder)
        elif entry is not None:
            os.unlink(path[-1], dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise ToolError(f"The folder {shown(path)} is not empty; delete what is in it first.") from None
    os.fsync(folder)


def usage(folder: int, most: int) -> Usage:
    """Entries and bytes below the folder; counting stops one past `most` entries."""
    count, size = 0, 0
    for _, folders, files, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        count += len(folders) + len(files)
        size += sum(entry.size for name in files if (entry := look(descriptor, name)))
        if count > most:
            break
    return Usage(count, size)


def shown(path: Parts) -> str:
    return repr("/".join(path) or ".")
