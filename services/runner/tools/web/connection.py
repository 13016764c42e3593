"""Which URLs the tools may fetch: of public servers and of those allowed, on the usual ports."""

from collections.abc import Callable

import httpcore2
import httpx2

from services.runner.tools.base import ToolError
from shared.addresses import Resolver, Server, resolve
from shared.public_http import PublicTransport

PORTS = {"http": 80, "https": 443}

Connect = Callable[[], httpx2.AsyncBaseTransport]


class WebTransport(PublicTransport):
    """Judges the URL of every request, redirects included, besides its addresses."""

    def __init__(
        self,
        allow: frozenset[Server] = frozenset(),
        resolver: Resolver = resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        super().__init__(allow, resolver, network)
        self._allow = allow

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        judge(request.url, self._allow)
        return await super().handle_async_request(request)


def judge(url: httpx2.URL, allow: frozenset[Server]) -> None:
    """Raises ToolError when the URL itself, before any name is resolved, is not one to fetch."""
    if url.scheme not in PORTS or not url.host:
        raise ToolError(
            "Only complete http:// and https:// URLs can be fetched, such as https://example.com/page."
        )
    if url.userinfo:
        raise ToolError(
            "A URL with a user name or password in it is refused; leave out the part before the @."
        )
    port = url.port or PORTS[url.scheme]
    if port not in PORTS.values() and Server(url.raw_host.decode("ascii").lower(), port) not in allow:
        raise ToolError(f"Port {port} is refused; only the ports 80 and 443 can be fetched.")
