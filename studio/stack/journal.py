"""What the supervisor itself has to say, in a log like the services' ones; and keeping all logs small."""

import json
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from studio.stack.causes import in_words
from studio.stack.errors import StackError
from studio.stack.folder import DataFolder
from studio.stack.logs import rotate
from studio.stack.ownership import append_own

ROTATE_S = 5.0


class Journal:
    """Never raises: a full disk must not end the supervision. What cannot be written goes to stderr."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._file = folder.log("supervisor")

    def write(self, event: str, level: str = "info", **fields: str) -> None:
        """Add a line."""
        entry = {"timestamp": datetime.now(UTC).isoformat(), "level": level, "event": event, **fields}
        try:
            with append_own(self._file) as stream:
                stream.write(json.dumps(entry).encode() + b"\n")
        except (OSError, StackError) as error:
            sys.stderr.write(f"not in {self._file} ({in_words(error)}): {event}\n")

    def keep_logs_small(self, until: threading.Event) -> None:
        """Look at every log again and again, in a thread, and rotate those that grew too large."""
        threading.Thread(target=self._rotate_all, args=(until,), name="logs", daemon=True).start()

    def _rotate_all(self, until: threading.Event) -> None:
        while not until.wait(ROTATE_S):
            for pattern in ("*.log", "*.out"):
                for log in self._folder.logs.glob(pattern):
                    self._rotate(log)

    def _rotate(self, log: Path) -> None:
        try:
            rotate(log)
        except OSError as error:
            self.write(f"cannot rotate {log}: {error.strerror}", level="error")
