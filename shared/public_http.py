"""HTTP that reaches public servers only, whatever a URL, the name service or a redirect says.

A name is resolved once, every address of it is judged, and the socket goes to a judged address, so that a
second answer of the name service cannot change the target. Host header, SNI and certificate stay the name's.
"""

import ssl
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import httpcore2
import httpx2
import structlog
from httpcore2 import SOCKET_OPTION

from shared.addresses import Resolver, Server, resolve
from shared.guarded_network import Guard, NotPublic, Refused

MOST_ADDRESSES: Final = 3
MOST_CONNECTIONS: Final = 100
IDLE_S: Final = 5.0

log = structlog.get_logger(__name__)


class AddressRefused(httpx2.ConnectError):
    """The host is not a public one; nothing was sent."""


class HostUnknown(httpx2.ConnectError):
    """The name has no address, or the name service does not answer; nothing was sent."""


class PublicTransport(httpx2.AsyncHTTPTransport):
    """For an httpx2 client, or for requests of its own. `allow`: servers that need not be public."""

    def __init__(
        self,
        allow: frozenset[Server] = frozenset(),
        resolver: Resolver = resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        tls = _tls()
        super().__init__(verify=tls, trust_env=False)
        # The library's transport takes no network of one's own; its pool does.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MOST_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=_PublicNetwork(Guard(allow, resolver), network or httpcore2.AnyIOBackend()),
        )


@cache
def _tls() -> ssl.SSLContext:
    """To read the certificates of all authorities takes a while: once for the process."""
    return httpx2.create_ssl_context(trust_env=False)


class _PublicNetwork(httpcore2.AsyncNetworkBackend):
    def __init__(self, guard: Guard, network: httpcore2.AsyncNetworkBackend) -> None:
        self._guard = guard
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception | None = None
        for address in (await self._judged(host, port))[:MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(f"there is no server named {host!r}")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _judged(self, host: str, port: int) -> Sequence[str]:
        try:
            return await self._guard.judged(host, port)
        except NotPublic as error:
            log.warning("a private address was refused", host=host, port=port)
            raise AddressRefused(f"{error}; only public addresses may be reached") from None
        except Refused as error:
            raise HostUnknown(str(error)) from None
