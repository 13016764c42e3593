"""Fetches one public page by GET. What may be reached is decided in `web`, for every redirect anew."""

import asyncio
from functools import partial
from typing import Self

import httpx2
from pydantic import Field, JsonValue

from services.runner.tools.base import KIB, BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.calling.output import fitting
from services.runner.tools.settings import ToolSettings
from services.runner.tools.web.body import ACCEPT_ENCODING, Body, read_body
from services.runner.tools.web.client import GuardedClient
from services.runner.tools.web.connection import Connect, WebTransport
from services.runner.tools.web.page import read_page
from services.runner.tools.web.text import HTML_TYPES, decode, is_text, media_type
from shared.steps import Effect

MAX_REDIRECTS = 5
# Leaves room under the tool's output limit for the other fields.
MAX_TEXT = 56 * KIB
HEADERS = {
    "User-Agent": "agentops-studio-http-fetch/1",
    "Accept": "text/html,text/*;q=0.9,application/json;q=0.9,*/*;q=0.5",
    "Accept-Encoding": ACCEPT_ENCODING,
}


class HttpFetchParameters(ToolParameters):
    url: str = Field(min_length=1, max_length=4096, description="Complete http:// or https:// URL.")
    max_bytes: int | None = Field(default=None, ge=1, description="Read at most so many bytes of the body.")


class HttpFetch(BaseTool[HttpFetchParameters]):
    name = "http_fetch"
    display_name = "Fetch a web page"
    description = (
        "Fetches a public web page or document by its URL and returns its text. "
        "HTML comes back as plain text with its title; of other content only type and size are told."
    )
    icon = "IconWorldDownload"
    effect = Effect.IDEMPOTENT
    Parameters = HttpFetchParameters

    def __init__(self, settings: ToolSettings, connect: Connect | None = None) -> None:
        self._max_bytes = settings.http_fetch_max_bytes
        connect = connect or partial(WebTransport, settings.http_fetch_allow)
        self._client = GuardedClient(HEADERS, settings.http_fetch_timeout_s, connect)

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        return cls(settings)

    async def execute(self, arguments: HttpFetchParameters, context: ToolContext) -> JsonValue:
        limit = min(arguments.max_bytes or self._max_bytes, self._max_bytes)
        async with self._client.session() as client:
            response = await _follow(client, arguments.url)
            try:
                return await _report(response, limit)
            finally:
                await response.aclose()


async def _follow(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """The first answer that is no redirect; bodies of redirects, which have no bound, are never read."""
    request = client.build_request("GET", url)
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        if response.next_request is None:
            return response
        await response.aclose()
        request = response.next_request
    raise ToolError(
        f"The page redirects more than {MAX_REDIRECTS} times; try the URL it is meant to lead to."
    )


async def _report(response: httpx2.Response, limit: int) -> JsonValue:
    content_type = response.headers.get("content-type", "")
    media = media_type(content_type)
    report: dict[str, JsonValue] = {
        "url": str(response.url),
        "status": response.status_code,
        "content_type": media or "unknown",
    }
    if not is_text(media):
        size = response.headers.get("content-length", "")
        note = "The content is not text, so only its type and size are told."
        return report | {"bytes": int(size) if size.isdecimal() and len(size) < 16 else None, "note": note}
    body = await read_body(response, limit)
    return report | await asyncio.to_thread(_readable, body, content_type)


def _readable(body: Body, content_type: str) -> dict[str, JsonValue]:
    text, title = decode(body.data, content_type), ""
    if media_type(content_type) in HTML_TYPES:
        page = read_page(text)
        text, title = page.text, page.title
    shown = fitting(text, MAX_TEXT)
    cut = not body.complete or len(shown) < len(text)
    named: dict[str, JsonValue] = {"title": title[:300]} if title else {}
    return named | {"bytes": len(body.data), "truncated": cut, "text": shown}
