"""Asking for the addresses of names: one domain that never answers keeps nobody else waiting."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from shared import addresses
from shared.addresses import MOST_OF_A_DOMAIN, resolve
from tests.support.waiting import eventually


class SlowNames:
    """A name service that never answers for one domain until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, _: int) -> list[str]:
        self.asked.append(host)
        if host.endswith("slow.test"):
            self.released.wait(30)
        return ["192.0.2.1"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    service = SlowNames()
    monkeypatch.setattr(addresses, "_getaddrinfo", service)
    yield service
    service.released.set()


async def test_an_address_needs_no_name_service(names: SlowNames) -> None:
    assert [await resolve(host, 80) for host in ("192.0.2.7", "2001:db8::1")] == [
        ["192.0.2.7"],
        ["2001:db8::1"],
    ]
    assert names.asked == []


async def test_a_domain_that_never_answers_keeps_only_its_own_names_waiting(names: SlowNames) -> None:
    hanging = [asyncio.create_task(resolve(f"a{number}.slow.test", 80)) for number in range(100)]
    await eventually(lambda: len(names.asked) == MOST_OF_A_DOMAIN)
    assert await resolve("www.example.test", 80) == ["192.0.2.1"]
    assert len(names.asked) == MOST_OF_A_DOMAIN + 1
    names.released.set()
    assert await asyncio.gather(*hanging) == [["192.0.2.1"]] * 100


async def test_who_has_given_up_leaves_the_place_to_its_thread(
    names: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "RESOLVE_TIMEOUT_S", 0.05)
    for _ in range(MOST_OF_A_DOMAIN + 2):
        with pytest.raises(TimeoutError):
            await resolve("a.slow.test", 80)
    assert len(names.asked) == MOST_OF_A_DOMAIN
    names.released.set()
    monkeypatch.setattr(addresses, "RESOLVE_TIMEOUT_S", 5.0)
    assert await resolve("b.slow.test", 80) == ["192.0.2.1"]
