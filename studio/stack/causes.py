"""Why something ended, in words: what is known about a cause first, then the last words of the program."""

import re
from typing import Final

LINES: Final = 15
CAUSES: Final = (
    (
        re.compile(r"no space left|free disk space|insufficient storage|quota exceeded", re.IGNORECASE),
        "the disk is full; free some space and start again",
    ),
    (
        re.compile(r"read-only file system", re.IGNORECASE),
        "the disk is read-only; choose another folder with --folder",
    ),
    (
        re.compile(r"cannot allocate memory|could not (?:map|resize) .*shared memory", re.IGNORECASE),
        "there is too little memory; end something else and start again",
    ),
    (
        re.compile(r"database files are incompatible with server", re.IGNORECASE),
        "another version of Postgres made this data; start the version of the project that did, or choose "
        "another folder with --folder",
    ),
)


def how_it_ended(name: str, code: int | None) -> str:
    """`code` as of `subprocess`: negative is the number of a signal."""
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return f"{name} {how}"


def last_words(what: str, output: str) -> str:
    """`what` happened and, where the output tells it, why and what to do; below it the end of the output."""
    return "\n".join([f"{what}{_because(output)}", *output.strip().splitlines()[-LINES:]])


def in_words(error: Exception) -> str:
    """An error for someone who typed a command."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{what}{_because(error.strerror)}"


def _because(text: str) -> str:
    return next((f": {words}" for pattern, words in CAUSES if pattern.search(text)), "")
