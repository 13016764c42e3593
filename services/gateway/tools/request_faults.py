"""What is wrong with the request of an HTTP tool or the address of an MCP server, field by field. Pure.

Whether a host is a public one is asked of the name service, in `hosts`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue

from shared.http_request import PLACEHOLDER, SECRET, HttpRequest, names_in

FieldFault = tuple[str, str]
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE: Final = re.compile(r"[ -~]{1,2000}")
OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "accept-encoding", "te"}
)
CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})
IN_FULL: Final = "write the URL in full, such as https://api.example.com/v1"


def url_fault(url: str) -> str | None:
    """The host is fixed, and nothing secret stands in a URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return IN_FULL
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return IN_FULL
    if "{" in parts.netloc or "}" in parts.netloc:
        return "the host is fixed: placeholders may only stand in path and query"
    if parts.username is not None or parts.password is not None:
        return "leave out the part before the @; a credential belongs into a header, as {secret:NAME}"
    if SECRET.search(url):
        return "URLs end up in logs; a secret belongs into a header"
    if parts.fragment or not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        return "must be ASCII, without blanks, backslashes and a fragment; write others percent-encoded"
    return None


def header_faults(headers: Mapping[str, str]) -> Iterator[FieldFault]:
    """Headers that cannot be sent, or would show a credential."""
    for name, value in headers.items():
        field = f"headers.{name[:100]}"
        if not HEADER_NAME.fullmatch(name) or name.lower() in OURS or name.lower().startswith("mcp-"):
            yield field, "is no header that can be set here"
        elif not HEADER_VALUE.fullmatch(value):
            yield field, "must be 1 to 2000 printable ASCII characters"
        elif PLACEHOLDER.search(value):
            yield field, "headers are fixed: of placeholders only {secret:NAME} may stand here"
        elif name.lower() in CREDENTIALS and not SECRET.search(value):
            yield field, "a credential must not stand here itself; write {secret:NAME}"


def request_faults(request: HttpRequest, parameters: Mapping[str, JsonValue]) -> Iterator[FieldFault]:
    """Everything that is wrong with the template, given the JSON schema of its arguments."""
    if (told := url_fault(request.url)) is not None:
        yield "url", told
        return
    properties, required = parameters.get("properties"), parameters.get("required")
    known = set(properties) if isinstance(properties, dict) else set()
    always = set(map(str, required)) if isinstance(required, list) else set()
    for name in sorted(set(names_in(request.url)) - (known & always)):
        yield "url", f"{{{name}}} must be one of the parameters' properties, and required"
    if re.search(r"[{}]", PLACEHOLDER.sub("", request.url)):
        yield "url", "a brace that belongs to no placeholder; write it percent-encoded"
    for name in sorted(set(names_in(list(request.query.values()))) - known):
        yield "query", f"{{{name}}} is none of the parameters' properties"
    if request.body is not None:
        yield from _body_faults(request, known)
    yield from header_faults(request.headers)


def _body_faults(request: HttpRequest, known: set[str]) -> Iterator[FieldFault]:
    if not request.has_body:
        yield "body", f"a {request.method} request has no body"
    for name in sorted(set(names_in(request.body)) - known):
        yield "body", f"{{{name}}} is none of the parameters' properties"
    for name in sorted(known - request.names):
        yield "body", f"the parameter {name!r} is used nowhere; put {{{name}}} into url, query or body"
