"""Whose a folder and its files are. What another user wrote is not read: it could name any pid to signal.

Only the caller's own things are opened; what is in them is none of this file's business.
"""

import errno
import os
from pathlib import Path

from studio.stack.errors import StackError


def check_own(folder: Path) -> None:
    """Raises StackError when the folder is there and is another user's, or is no folder."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise StackError(f"{folder.parent} is no folder; name another with --folder") from error
    except OSError as error:
        raise StackError(f"cannot look at {folder}: {error.strerror}") from error
    _check_owner(folder, found.st_uid)
    if not folder.is_dir():
        raise StackError(f"{folder} is no folder; name one with --folder, or remove it")


def open_own(file: Path, flags: int) -> int:
    """A descriptor of the caller's own file in a folder of the caller's own; a new file is closed to others.

    Raises StackError for anyone else's file and for a symbolic link, FileNotFoundError when there is none.
    """
    check_own(file.parent)
    try:
        # Without O_NONBLOCK a named pipe would hold the caller until someone writes to it.
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StackError(f"{file} is not opened: {why}") from error
    try:
        _check_owner(file, os.fstat(descriptor).st_uid)
    except StackError:
        os.close(descriptor)
        raise
    return descriptor


def _check_owner(path: Path, owner: int) -> None:
    if owner != os.geteuid():
        raise StackError(
            f"{path} belongs to uid {owner}, but this is uid {os.geteuid()}; "
            "work as that user, or choose another folder with --folder"
        )
