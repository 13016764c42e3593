"""What an MCP server may answer: so many bytes, so many events, and nothing unasked."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from services.runner.remote.bounded import MOST_BYTES, MOST_EVENTS, BoundedTransport
from shared.public_http import PublicTransport

PING = b'event: message\ndata: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n'


class Stream(httpx2.AsyncByteStream):
    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), self._size):
            yield self._content[start : start + self._size]


async def answered(
    monkeypatch: pytest.MonkeyPatch, content: bytes, *, size: int = 4096, media: str = "text/event-stream"
) -> bytes:
    async def send(_: PublicTransport, request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": media}
        return httpx2.Response(200, headers=headers, stream=Stream(content, size), request=request)

    monkeypatch.setattr(PublicTransport, "handle_async_request", send)
    transport = BoundedTransport()
    response = await transport.handle_async_request(httpx2.Request("POST", "http://server/mcp"))
    return await response.aread()


@pytest.mark.parametrize("size", [1, 5, 64, 4096])
@pytest.mark.parametrize(
    "event", [PING, PING.replace(b"\n", b"\r"), b"data\r\n\r\n"], ids=["LF", "CR", "CRLF"]
)
async def test_an_answer_of_endless_events_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, event: bytes, size: int
) -> None:
    few = event * MOST_EVENTS
    assert await answered(monkeypatch, few, size=size) == few
    with pytest.raises(httpx2.RemoteProtocolError, match="1000 events"):
        await answered(monkeypatch, few + event, size=size)


@pytest.mark.parametrize("media", ["text/event-stream", "application/json"])
async def test_an_answer_that_is_too_large_is_broken_off(monkeypatch: pytest.MonkeyPatch, media: str) -> None:
    with pytest.raises(httpx2.RemoteProtocolError, match="larger"):
        await answered(monkeypatch, b"x" * (MOST_BYTES + 1), media=media)


async def test_text_with_the_marks_of_events_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    content = PING * (MOST_EVENTS + 1)
    assert await answered(monkeypatch, content, media="application/json") == content


async def test_a_stream_that_nobody_asked_for_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(_: PublicTransport, __: httpx2.Request) -> httpx2.Response:
        raise AssertionError("a GET reached the server")

    monkeypatch.setattr(PublicTransport, "handle_async_request", send)
    response = await BoundedTransport().handle_async_request(httpx2.Request("GET", "http://server/mcp"))
    assert response.status_code == 405
