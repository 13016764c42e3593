"""Names: of a workspace's own folder, and of the paths inside it. Pure."""

import hashlib
import re

from services.runner.tools.base import ToolError

MAX_PATH = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 16
# Lower case alone, as some file systems do not tell the cases apart.
PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


def folder_name(identity: str) -> str:
    """A file name for any text: itself where that is safe, else `~` and a hash; no plain name begins so."""
    if PLAIN.fullmatch(identity):
        return identity
    return "~" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def owner(session_id: str | None, run_id: str) -> str:
    """Whose workspace it is: the session's, or the run's own when it has no session."""
    return f"run-{run_id}" if session_id is None else f"session-{session_id}"


def parse_path(path: str) -> tuple[str, ...]:
    """The names a path is made of, none for the workspace itself. Raises ToolError for a path not inside."""
    if len(path) > MAX_PATH:
        raise ToolError(f"The path is longer than {MAX_PATH} characters; use a shorter one.")
    if path.startswith("/"):
        raise ToolError(
            "The path must be relative to the workspace, such as notes/today.txt; leave out the first /."
        )
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if len(names) > MAX_DEPTH:
        raise ToolError(f"The path has more than {MAX_DEPTH} parts; use fewer folders.")
    for name in names:
        _check_name(name)
    return names


def _check_name(name: str) -> None:
    if name == "..":
        raise ToolError(
            "The path must not contain `..`; name a file inside the workspace, such as notes/today.txt."
        )
    if not name.isprintable():
        raise ToolError(
            "The path contains characters that cannot be printed; use letters, digits, -, _ and dots."
        )
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise ToolError(f"A name in the path is longer than {MAX_NAME_BYTES} bytes; use a shorter one.")
