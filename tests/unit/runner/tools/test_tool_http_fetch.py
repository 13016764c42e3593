"""http_fetch against real local servers: what it returns, and what it never reaches."""

import asyncio
import functools
import gzip
import tracemalloc
from collections.abc import Sequence

import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.runner.tools.base import ToolContext
from services.runner.tools.http_fetch import HttpFetch
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from services.runner.tools.web.connection import WebTransport
from shared.addresses import Server
from tests.unit.runner.tools.conftest import Answer, LocalServer, ServerStarter

CONTEXT = ToolContext("default", "run", None, "call", "key")
PUBLIC = "93.184.215.14"


def settings(*allow: Server, timeout_s: float = 5.0, max_bytes: int = 64 * 1024) -> ToolSettings:
    return ToolSettings(
        http_fetch_allow=frozenset(allow), http_fetch_timeout_s=timeout_s, http_fetch_max_bytes=max_bytes
    )


async def call(tool: HttpFetch, url: str, **more: int) -> ToolOutcome:
    return await ToolRegistry({"http_fetch": tool}).call("http_fetch", {"url": url, **more}, CONTEXT)


async def fetch(server: LocalServer, path: str = "/", timeout_s: float = 5.0, **more: int) -> ToolOutcome:
    """Fetch from a local server that is allowed by name; everything else stays guarded."""
    tool = HttpFetch(settings(Server("127.0.0.1", server.port), timeout_s=timeout_s))
    return await call(tool, server.url + path, **more)


def answers(body: bytes, content_type: str = "text/plain", status: str = "200 OK", head: str = "") -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        top = (
            f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{head}\r\n"
        )
        writer.write(top.encode() + body)
        await writer.drain()

    return answer


def redirects(location: str) -> Answer:
    return answers(b"moved", status="302 Found", head=f"Location: {location}\r\n")


class Names:
    """A name service that gives its answers one after the other, and remembers how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


class Wire(httpcore2.AsyncMockBackend):
    """Stands for the network beyond this machine: notes where connections go and answers each the same."""

    def __init__(self, answer: bytes) -> None:
        super().__init__([answer])
        self.reached: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *args: object) -> httpcore2.AsyncNetworkStream:
        self.reached.append((host, port))
        return await super().connect_tcp(host, port)


def on_wire(names: Names, answer: bytes) -> tuple[HttpFetch, Wire]:
    wire = Wire(answer)
    return HttpFetch(settings(), lambda: WebTransport(resolver=names, network=wire)), wire


HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_page_comes_back_as_readable_text_with_its_title(start_server: ServerStarter) -> None:
    page = (
        b"<html><head><title>Two\n words</title><script>evil()</script></head><p>One &amp; <b>two</b><p>Three"
    )
    outcome = await fetch(await start_server(answers(page, "text/html; charset=utf-8")), "/page?q=1")
    assert outcome.status == "ok"
    assert isinstance(outcome.result, dict)
    assert outcome.result["title"] == "Two words"
    assert outcome.result["text"] == "One & two\nThree"
    assert outcome.result["status"] == 200
    assert outcome.result["truncated"] is False
    assert outcome.units["requests"] == 1


async def test_the_declared_character_set_is_used(start_server: ServerStarter) -> None:
    server = await start_server(answers("déjà".encode("latin-1"), "text/plain; charset=ISO-8859-1"))
    outcome = await fetch(server)
    assert isinstance(outcome.result, dict)
    assert outcome.result["text"] == "déjà"


async def test_a_missing_page_is_told_by_its_status(start_server: ServerStarter) -> None:
    outcome = await fetch(await start_server(answers(b"nothing here", status="404 Not Found")))
    assert isinstance(outcome.result, dict)
    assert (outcome.result["status"], outcome.result["text"]) == (404, "nothing here")


async def test_of_content_that_is_no_text_only_type_and_size_are_told(start_server: ServerStarter) -> None:
    outcome = await fetch(await start_server(answers(b"\x89PNG" * 100, "image/png")))
    assert isinstance(outcome.result, dict)
    assert (outcome.result["content_type"], outcome.result["bytes"]) == ("image/png", 400)
    assert "text" not in outcome.result


async def test_a_redirect_within_the_allowed_server_is_followed(start_server: ServerStarter) -> None:
    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        await (redirects("/there") if head.startswith("GET / ") else answers(b"arrived"))(head, writer)

    server = await start_server(answer)
    outcome = await fetch(server)
    assert isinstance(outcome.result, dict)
    assert (outcome.result["url"], outcome.result["text"]) == (f"{server.url}/there", "arrived")


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://0/",
        "//169.254.169.254/",
    ],
)
async def test_a_redirect_to_a_private_address_is_refused_and_logged(
    start_server: ServerStarter, target: str
) -> None:
    with capture_logs() as logs:
        outcome = await fetch(await start_server(redirects(target)))
    assert outcome.status == "error"
    assert "only public addresses may be reached" in str(outcome.result)
    assert [entry["event"] for entry in logs] == ["a private address was refused"]


async def test_an_allowed_server_does_not_open_another_port_of_its_host(start_server: ServerStarter) -> None:
    inner = await start_server(answers(b"secret"))
    outcome = await fetch(await start_server(redirects(inner.url)))
    assert outcome.status == "error"
    assert "Port" in str(outcome.result)
    assert inner.heads == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com/", "http:// and https://"),
        ("file:///etc/passwd", "http:// and https://"),
        ("gopher://127.0.0.1:6379/_x", "http:// and https://"),
        ("example.com/page", "http:// and https://"),
        ("http://", "http:// and https://"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://example.com:8080/", "Port 8080 is refused"),
        ("http://example.com:22/", "Port 22 is refused"),
        ("http://[::1", "not a valid URL"),
        ("http://exa\x00mple.com/", "not a valid URL"),
        ("", "`url`"),
        ("http://example.com/" + "x" * 5000, "`url`"),
    ],
)
async def test_a_url_that_must_not_be_fetched_is_refused_before_any_name_is_asked_for(
    url: str, words: str
) -> None:
    names = Names([PUBLIC])
    tool, wire = on_wire(names, HELLO)
    outcome = await call(tool, url)
    assert outcome.status == "error"
    assert words in str(outcome.result)
    assert (names.asked, wire.reached) == (0, [])


async def test_the_name_is_resolved_once_and_the_judged_address_is_reached() -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    tool, wire = on_wire(names, HELLO)
    outcome = await call(tool, "http://rebinding.example/")
    assert outcome.status == "ok"
    assert names.asked == 1
    assert wire.reached == [(PUBLIC, 80)]


async def test_a_name_that_turns_private_is_refused_at_its_next_connection() -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    moved = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    tool, wire = on_wire(names, moved)
    outcome = await call(tool, "http://rebinding.example/")
    assert outcome.status == "error"
    assert "only public addresses" in str(outcome.result)
    assert wire.reached == [(PUBLIC, 80)]


@pytest.mark.parametrize("addresses", [[PUBLIC, "10.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]])
async def test_one_private_address_among_a_names_addresses_is_enough_to_refuse(addresses: list[str]) -> None:
    tool, wire = on_wire(Names(addresses), HELLO)
    outcome = await call(tool, "http://mixed.example/")
    assert "only public addresses" in str(outcome.result)
    assert wire.reached == []


async def test_an_address_that_does_not_answer_gives_way_to_the_next(start_server: ServerStarter) -> None:
    server = await start_server(answers(b"second"))
    named = Server("two.example", server.port)
    names = Names(["127.0.0.2", "127.0.0.1"])
    tool = HttpFetch(settings(named), lambda: WebTransport(frozenset({named}), names))
    outcome = await call(tool, f"http://two.example:{server.port}/")
    assert isinstance(outcome.result, dict)
    assert outcome.result["text"] == "second"
    assert f"Host: two.example:{server.port}".lower() in server.heads[0].lower()


async def test_tls_asks_for_the_name_although_the_connection_goes_to_the_address() -> None:
    hello: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.set_result(await reader.read(2048))
        writer.close()

    async with await asyncio.start_server(take_hello, "127.0.0.1", 0) as server:
        named = Server("secure.example", server.sockets[0].getsockname()[1])
        names = Names(["127.0.0.1"])
        tool = HttpFetch(settings(named), lambda: WebTransport(frozenset({named}), names))
        outcome = await call(tool, f"https://secure.example:{named.port}/")
        assert b"secure.example" in await asyncio.wait_for(hello, 5)
    assert outcome.status == "error"
    assert "cannot be reached" in str(outcome.result)


async def test_a_name_without_address_is_told() -> None:
    outcome = await call(on_wire(Names([]), HELLO)[0], "http://nowhere.example/")
    assert "no server named 'nowhere.example'" in str(outcome.result)


async def test_proxies_of_the_environment_are_not_used(
    start_server: ServerStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await start_server(answers(b"proxied"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    outcome = await fetch(await start_server(answers(b"direct")))
    assert isinstance(outcome.result, dict)
    assert outcome.result["text"] == "direct"
    assert proxy.heads == []


async def test_a_gzip_bomb_is_unpacked_no_further_than_the_limit(start_server: ServerStarter) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    server = await start_server(answers(bomb, head="Content-Encoding: gzip\r\n"))
    tracemalloc.start()
    outcome = await fetch(server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(outcome.result, dict)
    assert (outcome.result["bytes"], outcome.result["truncated"]) == (64 * 1024, True)
    assert peak < 8 * 1024 * 1024


async def test_a_packed_page_is_read_whole(start_server: ServerStarter) -> None:
    server = await start_server(answers(gzip.compress(b"plain words"), head="Content-Encoding: gzip\r\n"))
    outcome = await fetch(server)
    assert isinstance(outcome.result, dict)
    assert (outcome.result["text"], outcome.result["truncated"]) == ("plain words", False)


async def test_what_follows_a_packed_page_is_not_read_for_ever(start_server: ServerStarter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n"
    server = await start_server(endless(head + gzip.compress(b"page")))
    outcome = await fetch(server)
    assert isinstance(outcome.result, dict)
    assert (outcome.result["text"], outcome.result["truncated"]) == ("page", True)


async def test_an_allowed_server_is_known_by_its_ipv6_address() -> None:
    allow, wire = Server("::1", 8080), Wire(HELLO)
    tool = HttpFetch(settings(allow), lambda: WebTransport(frozenset({allow}), network=wire))
    assert (await call(tool, "http://[::1]:8080/")).status == "ok"
    assert (await call(tool, "http://[::1]/")).status == "error"
    assert wire.reached == [("::1", 8080)]


@pytest.mark.parametrize(("encoding", "words"), [("br", "not asked for"), ("gzip", "not valid gzip")])
async def test_an_encoding_that_cannot_be_read_is_told(
    start_server: ServerStarter, encoding: str, words: str
) -> None:
    server = await start_server(answers(b"abcdef", head=f"Content-Encoding: {encoding}\r\n"))
    assert words in str((await fetch(server)).result)


def endless(head: bytes) -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x" * 16384)
            await writer.drain()

    return answer


async def test_an_endless_body_is_cut_and_the_connection_closed(start_server: ServerStarter) -> None:
    server = await start_server(endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"))
    outcome = await fetch(server, max_bytes=10_000)
    assert isinstance(outcome.result, dict)
    assert (outcome.result["bytes"], outcome.result["truncated"]) == (10_000, True)
    await asyncio.wait_for(server.closed_by_client.wait(), 5)


async def test_the_endless_body_of_a_redirect_is_not_read(start_server: ServerStarter) -> None:
    target = await start_server(answers(b"target"))
    server = await start_server(endless(f"HTTP/1.1 302 Found\r\nLocation: {target.url}/\r\n\r\n".encode()))
    allow = [Server("127.0.0.1", server.port), Server("127.0.0.1", target.port)]
    outcome = await call(HttpFetch(settings(*allow)), server.url)
    assert isinstance(outcome.result, dict)
    assert outcome.result["text"] == "target"


def drips(head: bytes) -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
)
async def test_a_body_or_head_that_drips_for_ever_is_bounded_in_time(
    start_server: ServerStarter, head: bytes
) -> None:
    outcome = await fetch(await start_server(drips(head)), timeout_s=0.3)
    assert outcome.status == "error"
    assert "did not finish within 0.3 seconds" in str(outcome.result)
    assert outcome.latency_ms < 3000


async def test_a_redirect_in_a_circle_ends(start_server: ServerStarter) -> None:
    server = await start_server(redirects("/"))
    outcome = await fetch(server)
    assert "redirects more than 5 times" in str(outcome.result)
    assert len(server.heads) == 6


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
async def test_a_server_that_does_not_speak_http_is_told(start_server: ServerStarter, answer: bytes) -> None:
    async def speak(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    outcome = await fetch(await start_server(speak))
    assert outcome.status == "error"
    assert "broke the rules of HTTP" in str(outcome.result)


async def test_a_closed_port_is_told() -> None:
    closed = LocalServer(answers(b""))
    server = await asyncio.start_server(closed.serve, "127.0.0.1", 0)
    closed.port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert "cannot be reached (ConnectError)" in str((await fetch(closed)).result)


@functools.cache
def private_world() -> tuple[HttpFetch, Wire]:
    return on_wire(Names(["127.0.0.1"]), HELLO)


@given(url=st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"http://{text}"))
async def test_no_url_whatever_breaks_the_tool_or_reaches_a_private_server(url: str) -> None:
    tool, wire = private_world()
    outcome = await call(tool, url)
    assert outcome.status == "error"
    assert "fault of its own" not in str(outcome.result)
    assert wire.reached == []
