"""What both clients share: how httpx is set up and asked, and what an answer, or none, means."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from studio.client.address import Address
from studio.client.calls.call import Call, Result, path
from studio.client.errors import BadAnswer, NotFound, StudioError, Unreachable, Unsendable, error_of
from studio.client.feed import Feed

CONNECT_S: Final = 5.0


def client_arguments(address: Address) -> dict[str, Any]:
    """For `httpx.Client` and `httpx.AsyncClient` alike."""
    return {
        "base_url": address.url,
        "headers": {"Authorization": f"Bearer {address.api_key}", "User-Agent": "agentops-studio"},
        "trust_env": not address.is_local,
        # Without TLS there is nothing to verify, and loading the certificates takes a while.
        "verify": not address.url.startswith("http:"),
    }


def call_arguments(call: Call[Any], timeout_s: float) -> dict[str, Any]:
    """For `request` of either client. Raises Unsendable."""
    media_type, content = _content(call)
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "content": content,
        "headers": {**call.headers, **({"Content-Type": media_type} if content else {})},
        "timeout": httpx.Timeout(timeout_s + call.patience_s, connect=CONNECT_S),
    }


def feed_arguments(feed: Feed) -> dict[str, Any]:
    """For `stream` of either client; once for each connection."""
    return {
        "method": "GET",
        "url": path("runs", feed.run_id, "events"),
        "headers": feed.headers(),
        "timeout": httpx.Timeout(feed.silence_s, connect=CONNECT_S),
    }


def artifact_arguments(run_id: str, name: str, timeout_s: float) -> dict[str, Any]:
    """For `stream` of either client, whose bytes are those of an artifact."""
    return _file_arguments(path("runs", run_id, "artifacts", name), timeout_s)


def bundle_arguments(run_id: str, redact: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """For `stream` of either client, whose bytes are a bundle."""
    query = {"redact": ",".join(redact)} if redact else {}
    return _file_arguments(path("runs", run_id, "bundle"), timeout_s) | {"params": query}


def _file_arguments(url: str, timeout_s: float) -> dict[str, Any]:
    return {"method": "GET", "url": url, "timeout": httpx.Timeout(timeout_s, connect=CONNECT_S)}


@contextmanager
def network_errors(address: Address) -> Iterator[None]:
    """Turns what httpx raises into Unreachable or BadAnswer."""
    try:
        yield
    except httpx.ConnectError as error:
        raise Unreachable(f"no server answers at {address.url}: {error}") from error
    except httpx.TimeoutException as error:
        raise Unreachable(f"{address.url} did not answer in time") from error
    except httpx.TransportError as error:
        raise Unreachable(
            f"the connection to {address.url} broke: {error or type(error).__name__}"
        ) from error
    except httpx.HTTPError as error:
        raise BadAnswer(f"{address.url} sent an answer that cannot be read: {error}") from error


def result(call: Call[Result], response: httpx.Response, *, repeated: bool) -> Result:
    """What a read answer says. Raises the error that it is."""
    if response.is_success:
        return call.read(response.content)
    error = error_of(response.status_code, response.headers, response.content)
    if isinstance(error, NotFound) and call.gone_is_done and repeated:
        return call.read(b"")
    raise error


def streams(response: httpx.Response) -> bool:
    """Whether the answer is the stream of events that was asked for."""
    return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")


def no_stream(response: httpx.Response, body: bytes) -> StudioError:
    """The error for any other answer."""
    if response.is_success:
        return BadAnswer("the server answered with something else than a stream of events")
    return error_of(response.status_code, response.headers, body)


def _content(call: Call[Any]) -> tuple[str, bytes | None]:
    if call.file is not None:
        return "application/octet-stream", call.file
    if call.body is not None:
        return "application/json", _json_bytes(call.body)
    return "application/x-ndjson", _lines(call.lines)


def _json_bytes(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise Unsendable(f"the request cannot be written as JSON text: {_why(error)}") from error


def _lines(values: Sequence[object] | None) -> bytes | None:
    return b"".join(_json_bytes(value) + b"\n" for value in values) if values is not None else None


def _why(error: Exception) -> str:
    """The error without the text at fault, which may be long, or a secret."""
    if isinstance(error, UnicodeEncodeError):
        return "it holds bytes or halves of characters that are no Unicode text"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
