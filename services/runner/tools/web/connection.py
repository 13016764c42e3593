"""Connections that can only reach public servers, whatever the URL, the name service or a redirect says.

The name is resolved once, every address of it is judged, and the socket goes to a judged address, so that a
second answer of the name service cannot change the target. Host header, SNI and certificate stay the name's.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import cast

import httpcore
import httpx
import structlog
from httpcore import SOCKET_OPTION

from services.runner.tools.base import ToolError
from shared.addresses import Resolver, Server, is_public, resolve

PORTS = {"http": 80, "https": 443}
MAX_ADDRESSES_TRIED = 3

log = structlog.get_logger(__name__)


class RefusedError(ToolError):
    """The address is not one that may be reached."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """The network as httpcore sees it, narrowed to public addresses and the servers allowed by name."""

    def __init__(
        self,
        allow: frozenset[Server] = frozenset(),
        resolver: Resolver = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow = allow
        self._resolve = resolver
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in (await self._judged(host, port))[:MAX_ADDRESSES_TRIED]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _judged(self, host: str, port: int) -> Sequence[str]:
        addresses = await self._addresses(host, port)
        if Server(host.lower(), port) in self._allow:
            return addresses
        for address in addresses:
            if not is_public(address):
                log.warning("http_fetch_refused", host=host, port=port, address=address)
                raise RefusedError(f"{host!r} is not a public server; only public addresses can be fetched.")
        return addresses

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except TimeoutError:
            raise ToolError(
                f"The name service gave no answer for {host!r} in time; try again later."
            ) from None
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise ToolError(f"There is no server named {host!r}; check the spelling of the URL.")
        return addresses


class GuardedTransport(httpx.AsyncBaseTransport):
    """Judges the URL of every request, redirects included, and sends it over a guarded connection."""

    def __init__(self, backend: GuardedBackend, allow: frozenset[Server], tls: ssl.SSLContext) -> None:
        self._allow = allow
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=1, max_keepalive_connections=0, network_backend=backend
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        judge(request.url, self._allow)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        answer = await self._pool.handle_async_request(
            httpcore.Request("GET", url, headers=request.headers.raw, extensions=request.extensions)
        )
        stream = _Stream(cast(AsyncIterable[bytes], answer.stream))
        return httpx.Response(answer.status, headers=answer.headers, stream=stream)

    async def aclose(self) -> None:
        await self._pool.aclose()


def judge(url: httpx.URL, allow: frozenset[Server]) -> None:
    """Raises RefusedError when the URL itself, before any name is resolved, is not one to fetch."""
    if url.scheme not in PORTS or not url.host:
        raise RefusedError(
            "Only complete http:// and https:// URLs can be fetched, such as https://example.com/page."
        )
    if url.userinfo:
        raise RefusedError(
            "A URL with a user name or password in it is refused; leave out the part before the @."
        )
    port = url.port or PORTS[url.scheme]
    if port not in PORTS.values() and Server(url.raw_host.decode("ascii").lower(), port) not in allow:
        raise RefusedError(f"Port {port} is refused; only the ports 80 and 443 can be fetched.")


class _Stream(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
