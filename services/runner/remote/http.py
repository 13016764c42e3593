"""Carrying out the call of a tool that is an HTTP request. Redirects are followed within the origin only."""

import asyncio
from typing import Final

import httpx2
from pydantic import JsonValue

from services.runner.model import strictly_decoded
from services.runner.remote.filling import Filled, fill
from services.runner.remote.secrets import Secrets
from services.runner.tools.base import ToolContext, ToolError
from services.runner.tools.web.text import decode, is_text, media_type
from shared.http_request import HttpRequest
from shared.public_http import AddressRefused
from shared.steps import ToolSpec

MOST_REDIRECTS: Final = 5
SHOWN_OF_ERROR: Final = 2000
CONNECT_S: Final = 10.0
NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
UNKNOWN: Final = "whether the request took effect is unknown"


class HttpCaller:
    """`transport` decides who may be reached; no cookie and no connection state outlives a call."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, secrets: Secrets) -> None:
        self._transport = transport
        self._secrets = secrets

    async def call(self, spec: ToolSpec, arguments: dict[str, JsonValue], context: ToolContext) -> JsonValue:
        """The answer's JSON or text. Raises ToolError that says whether the request may have taken effect."""
        template = HttpRequest.model_validate(spec.settings)
        filled, host = fill(template, arguments), httpx2.URL(template.url).host
        headers = {
            "Accept": "application/json, text/*;q=0.9, */*;q=0.5",
            "User-Agent": "agentops-studio/1",
            **({"Content-Type": "application/json"} if filled.body is not None else {}),
            **self._secrets.fill(template.headers, context.project, host),
            "Accept-Encoding": "identity",
            "Idempotency-Key": context.idempotency_key,
        }
        try:
            async with asyncio.timeout(spec.timeout_s):
                return await self._exchange(template, filled, headers)
        except TimeoutError:
            raise ToolError(f"{host} did not answer within {spec.timeout_s:g} seconds; {UNKNOWN}.") from None
        except AddressRefused:
            raise ToolError(f"{host} is not a public server, so nothing was sent; do without.") from None
        except NOT_SENT as error:
            raise ToolError(f"{host} cannot be reached ({_kind(error)}); nothing was sent.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ToolError(f"The exchange with {host} broke off ({_kind(error)}); {UNKNOWN}.") from None

    async def _exchange(self, template: HttpRequest, filled: Filled, headers: dict[str, str]) -> JsonValue:
        request = self._request(template.method, httpx2.URL(filled.url), headers, filled.body)
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._transport.handle_async_request(request)
            try:
                if not response.has_redirect_location:
                    return await _report(response, request.url.host, template.max_response_bytes)
                url = _target(request.url, response)
            finally:
                await response.aclose()
            kept = response.status_code in (307, 308)
            method = template.method if kept or template.method == "GET" else "GET"
            request = self._request(method, url, headers, filled.body if kept else None)
        raise ToolError(f"{request.url.host} redirects more than {MOST_REDIRECTS} times.")

    def _request(
        self, method: str, url: httpx2.URL, headers: dict[str, str], body: bytes | None
    ) -> httpx2.Request:
        timeout = httpx2.Timeout(None, connect=CONNECT_S, pool=CONNECT_S)
        extensions = {"timeout": timeout.as_dict()}
        return httpx2.Request(method, url, headers=headers, content=body, extensions=extensions)


def _target(url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
    """Where a redirect leads: not to another origin, for the host is fixed, and headers may hold secrets."""
    target = url.join(response.headers["location"])
    if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port) or target.userinfo:
        raise ToolError(
            f"{url.host} answered {response.status_code} and sends on to another server, where nobody goes."
        )
    return target


async def _report(response: httpx2.Response, host: str, limit: int) -> JsonValue:
    declared = response.headers.get("content-type", "")
    data, whole = await _read(response, limit)
    if not response.is_success:
        shown = decode(data, declared)[:SHOWN_OF_ERROR]
        raise ToolError(f"{host} answered {response.status_code} {response.reason_phrase}: {shown}".strip())
    media = media_type(declared)
    if data and not is_text(media):
        return {"content_type": media or "unknown", "note": "The content is not text, so it is not shown."}
    text = decode(data, declared)
    if not whole:
        return f"{text}\n[cut: the answer is longer than the limit of {limit} bytes]"
    return _parsed(text) if media.endswith("json") else text


async def _read(response: httpx2.Response, limit: int) -> tuple[bytes, bool]:
    """The first bytes of the body, and whether that is all; the rest is never read."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.RemoteProtocolError("the answer is packed, which was not asked for")
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > limit:
            return bytes(data[:limit]), False
    return bytes(data), True


def _parsed(text: str) -> JsonValue:
    """What calls itself JSON and is none is told as the text that it is."""
    try:
        value: JsonValue = strictly_decoded(text)
    except (ValueError, RecursionError):
        return text
    return value


def _kind(error: Exception) -> str:
    return type(error).__name__
