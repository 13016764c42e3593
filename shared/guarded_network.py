"""Which servers may be reached: public ones, and those allowed by name. Connecting is in `public_http.py`."""

from collections.abc import Sequence

from shared.addresses import Resolver, Server, is_public, resolve
from shared.errors import StudioError


class Refused(StudioError):
    """The name has no address, or one that may not be reached; the message says which."""


class NotPublic(Refused):
    """An address of the host belongs to this machine or a private network."""


class Guard:
    """Judges every address of a host. `allow`: servers that need not be public."""

    def __init__(self, allow: frozenset[Server] = frozenset(), resolver: Resolver = resolve) -> None:
        self._allow = allow
        self._resolve = resolver

    async def judged(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, each of which may be reached. Raises Refused."""
        addresses = await self._addresses(host, port)
        if Server(host.lower(), port) not in self._allow:
            for address in addresses:
                if not is_public(address):
                    raise NotPublic(f"{host[:100]!r} is not a public server")
        return addresses

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except TimeoutError:
            raise Refused(f"the name service gave no answer for {host[:100]!r} in time") from None
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise Refused(f"there is no server named {host[:100]!r}")
        return addresses
