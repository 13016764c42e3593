"""Who answers the agents' model calls: Mistral, a compatible server, or the simulator."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from studio.stack.errors import StackError

MISTRAL_URL = "https://api.mistral.ai"


@dataclass(frozen=True)
class Provider:
    """`url` is for people (without user and password); `environment` goes to the runner."""

    name: str
    url: str
    environment: Mapping[str, str]


def choose_provider(environ: Mapping[str, str], simulator_url: str) -> Provider:
    """MISTRAL_SERVER_URL wins, then MISTRAL_API_KEY; with neither (or both empty), the simulator.

    Raises StackError when the server is no HTTP address.
    """
    key, server = environ.get("MISTRAL_API_KEY", ""), environ.get("MISTRAL_SERVER_URL", "")
    if server:
        # A server of one's own often wants no key, but the client library wants one to send.
        environment = {"MISTRAL_API_KEY": key or "none", "MISTRAL_SERVER_URL": server}
        return Provider("compatible server", _without_credentials(server), environment)
    if key:
        return Provider("mistral", MISTRAL_URL, {"MISTRAL_API_KEY": key})
    environment = {
        "MISTRAL_API_KEY": "simulator",
        "MISTRAL_SERVER_URL": simulator_url,
        "MISTRAL_PROVIDER": "simulator",
    }
    return Provider("simulator", simulator_url, environment)


def uses_simulator(environ: Mapping[str, str]) -> bool:
    """Whether neither a key nor a server is given."""
    return not environ.get("MISTRAL_API_KEY") and not environ.get("MISTRAL_SERVER_URL")


def _without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StackError("MISTRAL_SERVER_URL must be an address like https://host or http://host:port/path")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
