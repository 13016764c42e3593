"""Whose a folder and its files are. What another user wrote is not read: it could name any pid to signal.

Only the caller's own things are opened, and what is made is closed to others; what is in it is none of
this file's business.
"""

import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from studio.stack.causes import in_words
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
        is_link = error.errno == errno.ELOOP
        raise StackError(f"{file} is a symbolic link" if is_link else in_words(error)) from error
    try:
        _check_owner(file, os.fstat(descriptor).st_uid)
    except StackError:
        os.close(descriptor)
        raise
    return descriptor


def append_own(file: Path) -> BinaryIO:
    """The caller's own file, to be written at its end."""
    return os.fdopen(open_own(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def replace_own(file: Path, text: str) -> None:
    """Put a new file in the place of an old one: a reader finds all of the one or all of the other."""
    unfinished = file.with_name(f"{file.name}.new")
    with os.fdopen(open_own(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as stream:
        stream.write(text)
    unfinished.replace(file)


def read_or_make_secret(file: Path) -> str:
    """The secret that the file holds; made of 32 random bytes at first."""
    if not file.exists():
        replace_own(file, secrets.token_hex(32))
    with os.fdopen(open_own(file, os.O_RDONLY)) as stream:
        return stream.read().strip()


def _check_owner(path: Path, owner: int) -> None:
    if owner != os.geteuid():
        raise StackError(
            f"{path} belongs to uid {owner}, but this is uid {os.geteuid()}; "
            "work as that user, or choose another folder with --folder"
        )
