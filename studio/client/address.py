"""Where the server is and with which key: as given, from the environment, or from a stack nearby.

Only looking; nothing connects here.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from studio.client.errors import NoServer
from studio.stack.state import StackState, read_state

DATA_FOLDER: Final = ".studio"
STATE_FILE: Final = "state.json"
KEY: Final = re.compile(r"[\x21-\x7e]{1,1000}")
HOW_TO: Final = "Start one with `studio up`, or set STUDIO_URL and STUDIO_API_KEY to use one elsewhere."


@dataclass(frozen=True)
class Address:
    """`url` has no slash at its end; `origin` says where it was found, for messages."""

    url: str
    api_key: str = field(repr=False)
    origin: str

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where no proxy may get the requests."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def find_address(
    url: str | None = None,
    api_key: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Address:
    """What is given counts, then STUDIO_URL and STUDIO_API_KEY, then a stack in `folder` or above it.

    Raises NoServer, which says where was looked and what to do.
    """
    environ = os.environ if environ is None else environ
    key = api_key or environ.get("STUDIO_API_KEY")
    given = url or environ.get("STUDIO_URL")
    if given:
        if not key:
            raise NoServer("STUDIO_URL is set, but no API key: set STUDIO_API_KEY, or unset STUDIO_URL.")
        return Address(_checked_url(given), _checked_key(key, "STUDIO_API_KEY"), "STUDIO_URL")
    data = _running_stack(environ.get("STUDIO_FOLDER"), folder or Path.cwd())
    key_file = Path(data.key_file)
    return Address(
        _checked_url(data.gateway_url), _checked_key(key or _read_key(key_file), str(key_file)), data.folder
    )


def _running_stack(chosen: str | None, folder: Path) -> StackState:
    """The stack of the data folder chosen with STUDIO_FOLDER, or else of the nearest one."""
    stopped = ""
    for data in [Path(chosen)] if chosen else _data_folders(folder):
        if _is_ours(data / STATE_FILE) and (state := read_state(data / STATE_FILE)) and state.gateway_url:
            return state
        if data.is_dir():
            stopped = stopped or f"the stack in {data} does not run"
    where = stopped or f"there is no {DATA_FOLDER} in {folder} or a folder above it"
    raise NoServer(f"No server found: {where}. {HOW_TO}")


def _data_folders(folder: Path) -> Iterator[Path]:
    folder = folder.absolute()
    return (each / DATA_FOLDER for each in (folder, *folder.parents))


def _is_ours(file: Path) -> bool:
    """A state file that someone else left in a shared folder could send requests and key to their server."""
    try:
        return file.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _read_key(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise NoServer(f"The API key in {file} cannot be read: {why}. `studio doctor` explains.") from error


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and "@" not in parts.netloc and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        # Not quoted: it may hold a password.
        raise NoServer("STUDIO_URL is no address of a server; one looks like http://127.0.0.1:8000")
    return url.rstrip("/")


def _checked_key(key: str, origin: str) -> str:
    if not KEY.fullmatch(key):
        raise NoServer(f"What {origin} holds is no API key: a key has no spaces and only ASCII characters.")
    return key
