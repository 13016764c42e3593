"""One attempt to deliver: a POST to a public server, bounded in time, whose answer is its status alone."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

import httpx2

from services.gateway.problems import invalid
from shared.addresses import Resolver, Server, resolve
from shared.guarded_network import Guard, NotPublic, Refused
from shared.public_http import PublicTransport

TIMEOUT_S: Final = 10.0
LOOK_UP_S: Final = 2.0
PORTS: Final = {"http": 80, "https": 443}
HOST: Final = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]+")  # a name, or an address of IPv6
# No connection is kept: each attempt asks the name service anew, and none meets one that is about to close.
HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": "agentops-studio-webhooks/1",
    "Connection": "close",
}


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: `error` is None when it was a success."""

    status: int | None
    error: str | None
    duration_ms: int


class Sender:
    def __init__(self, allow: frozenset[Server], resolver: Resolver = resolve) -> None:
        """`allow`: servers that may be told though their addresses are not public."""
        self._guard = Guard(allow, resolver)
        self._transport = PublicTransport(allow, resolver)

    async def judge(self, url: str) -> str:
        """The host of a URL that may be told. Raises Problem (422); a name that is not known yet may be."""
        host, port = host_of(url)
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await self._guard.judged(host, port)
        except NotPublic as error:
            raise invalid("url", f"{error}; give a URL that the internet can reach") from None
        except (Refused, TimeoutError):
            return host
        return host

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        started = monotonic()
        status: int | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._post(url, body, headers)
                error = _complaint(status)
        except TimeoutError:
            error = f"no answer within {TIMEOUT_S:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:300].replace("\x00", "\ufffd")
        return Attempt(status, error, round((monotonic() - started) * 1000))

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status; the answer's body, which has no bound, is never read."""
        request = httpx2.Request("POST", url, headers={**HEADERS, **headers}, content=body)
        response = await self._transport.handle_async_request(request)
        await response.aclose()
        return response.status_code


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed: register the URL that it leads to"
    return f"answered {status}"


def host_of(url: str) -> tuple[str, int]:
    """Host and port of a webhook's URL. Raises Problem (422)."""
    try:
        parsed = httpx2.URL(url)
        host = parsed.raw_host.decode("ascii").lower()
    except (httpx2.InvalidURL, UnicodeError):
        raise invalid("url", "is no URL; write it in full, such as https://example.com/hooks") from None
    if parsed.scheme not in PORTS or not host:
        raise invalid("url", "must be a complete http:// or https:// URL")
    if parsed.userinfo or parsed.fragment:
        raise invalid("url", "must hold no user name, password or #fragment")
    port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if not HOST.fullmatch(host) or not 0 < port < 65536:
        raise invalid("url", "has no right host or port; write it in full, such as https://example.com/hooks")
    return host, port
