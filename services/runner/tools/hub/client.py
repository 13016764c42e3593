"""The Hub's official client with the bounds it lacks.

Its listing calls switch timeouts off, and it sleeps as long as a server's Retry-After says, up to five times;
in a thread, which nothing can stop, either would hold the thread for hours. So its HTTP client is given a
transport that bounds each request and turns every failure into an error that the client does not retry.
"""

import functools
import time

import httpx2
from huggingface_hub import HfApi, set_client_factory

from services.runner.tools.base import KIB, ToolError

TIMEOUTS = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
ANSWER_S = 10.0
MAX_ANSWER = 1024 * KIB


def hub_api(endpoint: str, token: str | None) -> HfApi:
    """A client for one call. Without a token none is sent, not even one stored on this machine by a login."""
    _install()
    return HfApi(endpoint=endpoint, token=token or False)


@functools.cache
def _install() -> None:
    """Once in a process, as the client's HTTP session is one for the process and changing it closes it."""
    set_client_factory(lambda: httpx2.Client(transport=BoundedTransport(), follow_redirects=False))


class BoundedTransport(httpx2.BaseTransport):
    """Raises ToolError for every answer but a success, and for none in time."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["timeout"] = TIMEOUTS
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = self._inner.handle_request(request)
            content = _read(response)
        except httpx2.TimeoutException:
            raise ToolError("The Hugging Face Hub did not answer in time; try again later.") from None
        except httpx2.TransportError as error:
            kind = type(error).__name__
            raise ToolError(f"The Hugging Face Hub cannot be reached ({kind}); try again later.") from None
        return httpx2.Response(response.status_code, headers=response.headers, content=content)

    def close(self) -> None:
        self._inner.close()


def _read(response: httpx2.Response) -> bytes:
    deadline = time.monotonic() + ANSWER_S
    content = bytearray()
    try:
        if not response.is_success:
            raise ToolError(_refusal(response))
        for part in response.iter_raw():
            content += part
            if len(content) > MAX_ANSWER or time.monotonic() > deadline:
                raise ToolError("The Hugging Face Hub's answer is too long; ask for fewer models.")
    finally:
        response.close()
    return bytes(content)


def _refusal(response: httpx2.Response) -> str:
    status = response.status_code
    if status in (401, 403):
        return f"The Hugging Face Hub refused access ({status}); HF_TOKEN must be valid and allow reading."
    if status == 429:
        wait = response.headers.get("retry-after", "")
        after = f" in {wait} seconds" if wait.isdecimal() and len(wait) < 6 else " later"
        return f"The Hugging Face Hub has had too many requests (429); try again{after}."
    if status >= 500:
        return f"The Hugging Face Hub has a fault of its own ({status}); try again later."
    return f"The Hugging Face Hub refused the request ({status}); try another query."
