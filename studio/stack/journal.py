"""What the supervisor itself has to say, in a log like the services' ones; and keeping all logs small."""

import json
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from studio.stack.folder import DataFolder
from studio.stack.logs import rotate

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
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            sys.stderr.write(f"cannot write {self._file} ({error.strerror}): {event}\n")

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
