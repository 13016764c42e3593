"""An HTTP client for servers that are not trusted: guarded connections, no redirects, failures in words."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpcore
import httpx

from services.runner.tools.base import ToolError
from services.runner.tools.web.connection import GuardedBackend, GuardedTransport
from shared.addresses import Server


class GuardedClient:
    """Reaches public servers, and those in `allow`."""

    def __init__(
        self,
        headers: Mapping[str, str],
        timeout_s: float,
        allow: frozenset[Server] = frozenset(),
        backend: GuardedBackend | None = None,
    ) -> None:
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._allow = allow
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._backend = backend or GuardedBackend(allow)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a connection of its own; what happens in the block is bounded in time.

        Raises ToolError for whatever the network or the server does.
        """
        try:
            async with asyncio.timeout(self._timeout_s) as bound, self._client() as client:
                yield client
        except TimeoutError:
            if not bound.expired():
                raise
            raise ToolError(
                f"The server did not finish within {self._timeout_s:g} seconds; try later."
            ) from None
        except (httpcore.TimeoutException, httpcore.NetworkError) as error:
            raise ToolError(
                f"The server cannot be reached ({_kind(error)}); check the URL or try later."
            ) from None
        except (httpcore.ProtocolError, httpx.RemoteProtocolError) as error:
            raise ToolError(
                f"The server broke the rules of HTTP ({_kind(error)}); try another URL."
            ) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol, UnicodeError):
            raise ToolError(
                "This is not a valid URL; write it in full, such as https://example.com/page."
            ) from None

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=GuardedTransport(self._backend, self._allow, self._tls),
            headers=self._headers,
            timeout=httpx.Timeout(connect=5.0, read=self._timeout_s, write=5.0, pool=5.0),
            trust_env=False,
            follow_redirects=False,
        )


def _kind(error: Exception) -> str:
    return type(error).__name__
