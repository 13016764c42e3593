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
from studio.stack.errors import StackError
from studio.stack.state import StackState, read_state

DATA_FOLDER: Final = ".studio"
STATE_FILE: Final = "state.json"
KEY: Final = re.compile(r"[\x21-\x7e]{1,1000}")
HOW_TO: Final = "Start one with `studio up`, or set STUDIO_URL and STUDIO_API_KEY to use one elsewhere."


@dataclass(frozen=True)
class Address:
    """`url` has no slash at its end. For messages: `origin` says where it was found, `key_origin` the key."""

    url: str
    api_key: str = field(repr=False)
    origin: str
    key_origin: str = ""

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
        named = "the argument `api_key`" if api_key else "STUDIO_API_KEY"
        return Address(_checked_url(given), _checked_key(key, named), "STUDIO_URL", named)
    data = _running_stack(environ.get("STUDIO_FOLDER"), folder or Path.cwd())
    named = "STUDIO_API_KEY" if key else data.key_file
    usable = _checked_key(key or _read_key(Path(data.key_file)), named)
    return Address(_checked_url(data.gateway_url), usable, data.folder, named)


def _running_stack(chosen: str | None, folder: Path) -> StackState:
    """The stack of the data folder chosen with STUDIO_FOLDER, or else of the nearest one."""
    stopped = ""
    for data in [Path(chosen)] if chosen else _data_folders(folder):
        if (state := _own_state(data / STATE_FILE)) and state.gateway_url:
            return state
        if data.is_dir():
            stopped = stopped or f"the stack in {data} does not run"
    if chosen and not stopped:
        raise NoServer(f"No server found: STUDIO_FOLDER is {chosen}, which is no folder. {HOW_TO}")
    where = stopped or f"there is no {DATA_FOLDER} in {folder} or a folder above it"
    raise NoServer(f"No server found: {where}. {HOW_TO}")


def _data_folders(folder: Path) -> Iterator[Path]:
    folder = folder.absolute()
    return (each / DATA_FOLDER for each in (folder, *folder.parents))


def _own_state(file: Path) -> StackState | None:
    """A state file that someone else left in a shared folder could send requests and key to their server."""
    try:
        return read_state(file)
    except StackError:
        return None


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
