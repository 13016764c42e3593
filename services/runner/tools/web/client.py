"""An HTTP client for servers that are not trusted: guarded connections, no redirects, failures in words."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from services.runner.tools.base import ToolError
from services.runner.tools.web.connection import Connect
from shared.public_http import AddressRefused, HostUnknown


class GuardedClient:
    """Reaches what the transports that `connect` makes may reach."""

    def __init__(self, headers: Mapping[str, str], timeout_s: float, connect: Connect) -> None:
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._connect = connect

    @asynccontextmanager
    async def session(self) -> AsyncIterator[httpx2.AsyncClient]:
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
        except (AddressRefused, HostUnknown) as error:
            raise ToolError(f"The URL cannot be fetched: {error}; check its spelling.") from None
        except (httpx2.TimeoutException, httpx2.NetworkError) as error:
            raise ToolError(
                f"The server cannot be reached ({_kind(error)}); check the URL or try later."
            ) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError):
            raise ToolError(
                "This is not a valid URL; write it in full, such as https://example.com/page."
            ) from None
        except httpx2.TransportError as error:
            raise ToolError(
                f"The server broke the rules of HTTP ({_kind(error)}); try another URL."
            ) from None

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=self._connect(),
            headers=self._headers,
            timeout=httpx2.Timeout(connect=5.0, read=self._timeout_s, write=5.0, pool=5.0),
            trust_env=False,
            follow_redirects=False,
        )


def _kind(error: Exception) -> str:
    return type(error).__name__
