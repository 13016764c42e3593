"""Which network addresses are public. Pure but for `resolve`, the one place that asks the name service."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

RESOLVE_TIMEOUT_S = 5.0
# A name that never answers holds its thread for longer than we wait: others must not need that thread.
RESOLVER_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="resolve")
MOST_OF_A_DOMAIN = 4
"""Threads that ask for names with the same last two labels; whoever comes after them waits."""

_Places = WeakValueDictionary[str, asyncio.Semaphore]
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, _Places] = WeakKeyDictionary()

NAT64 = IPv6Network("64:ff9b::/96")
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Special ranges that `is_global` of this or that Python version lets pass (IANA special-purpose registries).
# The last one answers a cloud's virtual machines as their host, though it counts as public.
SPECIAL_V4 = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("168.63.129.16/32"),
)
SPECIAL_V6 = (IPv6Network("2001::/23"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))


class Server(NamedTuple):
    """A host exactly as it stands in a URL (lower case, IPv6 without brackets) and a port."""

    host: str
    port: int


def parse_server(text: str) -> Server:
    """`host:port` or `[IPv6]:port`; raises ValueError that says so."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/@\[\]]+)):(\d{1,5})", text.strip())
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(f"{text.strip()!r} is not a server; write host:port or [IPv6 address]:port")
    return Server((match[1] or match[2]).lower(), int(match[3]))


def is_public(text: str) -> bool:
    """True for an address of the public internet, looking through the forms that carry an IPv4 address."""
    address = _carried(ip_address(text))
    if isinstance(address, IPv4Address):
        special = any(address in network for network in SPECIAL_V4)
        return address.is_global and not (address.is_multicast or address.is_reserved or special)
    special = any(address in network for network in SPECIAL_V6)
    return address.is_global and address in GLOBAL_UNICAST and not special


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


async def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver. Raises OSError, TimeoutError or UnicodeError."""
    if is_address(host):
        return [host]
    async with asyncio.timeout(RESOLVE_TIMEOUT_S):
        place = _place_of(".".join(host.lower().rstrip(".").split(".")[-2:]))
        await place.acquire()
        # The place is free again when the thread is, which may be long after nobody waits for it any more.
        loop = asyncio.get_running_loop()
        asked = RESOLVER_THREADS.submit(_getaddrinfo, host, port)
        asked.add_done_callback(lambda _: _release(loop, place))
        return await asyncio.wrap_future(asked)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _place_of(domain: str) -> asyncio.Semaphore:
    """The places of a domain, as long as anybody has or wants one."""
    places = _places.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    place = places.get(domain)
    if place is None:
        place = places[domain] = asyncio.Semaphore(MOST_OF_A_DOMAIN)
    return place


def _release(loop: asyncio.AbstractEventLoop, place: asyncio.Semaphore) -> None:
    with suppress(RuntimeError):  # the loop has been closed, and with it all who wait
        loop.call_soon_threadsafe(place.release)


def _getaddrinfo(host: str, port: int) -> list[str]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))
