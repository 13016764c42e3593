"""The processes' log files: bounded in size, read from their ends, followed while they grow.

How a line is shown is decided in `log_lines.py`.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from studio.stack.ownership import append_own

MAX_BYTES = 16 * 1024 * 1024
TAIL_BYTES = 1024 * 1024
FOLLOW_S = 0.2


def rotate(log: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Move a log that grew too large to `<name>.1`, replacing the one before; True when it was moved.

    The process keeps writing to the same open file (in append mode), so its content is copied and
    the file emptied. Writing straight to a file keeps a service independent of its supervisor: a pipe
    would break with it.
    """
    if not log.exists() or log.stat().st_size <= max_bytes:
        return False
    older = log.with_name(f"{log.name}.1")
    older.unlink(missing_ok=True)
    with log.open("r+b") as source, append_own(older) as target:
        shutil.copyfileobj(source, target)
        # Whatever came during the copy, so that next to nothing is between its end and the cut.
        shutil.copyfileobj(source, target)
        source.truncate(0)
    return True


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines, from at most the last MiB."""
    if count <= 0 or not log.exists():
        return []
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = stream.read().decode("utf-8", "replace")
    return _lines(text)[-count:]


def follow(logs: Mapping[str, Path], stop: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """Yield (name, line) for every line added from now on, until `stop` is true."""
    positions = {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}
    while not stop():
        idle = True
        for name, log in logs.items():
            lines, positions[name] = _read_on(log, positions[name])
            for line in lines:
                idle = False
                yield name, line
        if idle:
            time.sleep(FOLLOW_S)


def _read_on(log: Path, position: int) -> tuple[list[str], int]:
    """Whole lines after `position`; a file that became shorter was rotated and is read from its start."""
    if not log.exists():
        return [], 0
    if log.stat().st_size < position:
        position = 0
    with log.open("rb") as stream:
        stream.seek(position)
        data = stream.read(TAIL_BYTES)
    end = data.rfind(b"\n") + 1
    # A line longer than the window is passed on in pieces instead of waiting for its end for ever.
    end = end or (len(data) if len(data) == TAIL_BYTES else 0)
    return _lines(data[:end].decode("utf-8", "replace")), position + end


def _lines(text: str) -> list[str]:
    """Split at line ends alone: other separators may be a part of what is told."""
    return text.removesuffix("\n").split("\n") if text else []
