"""Where the API key stands in a request, and what the key allows there."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from services.gateway.key_ring import KeyRing, Principal
from services.gateway.problems import FORBIDDEN, Problem, unauthorized

HOW: Final = "send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"
READING: Final = frozenset({"GET", "HEAD"})


async def authenticated(request: HTTPConnection) -> Principal:
    """The caller of a request. Raises Problem: 401 without a valid key, 403 without the scope."""
    ring: KeyRing = request.app.state.parts.key_ring
    principal = await ring.verify(key_of(request.headers))
    # A WebSocket has no method; what it is for here, starting runs, is a write.
    scope = "read" if request.scope.get("method") in READING else "write"
    if scope not in principal.scopes:
        raise Problem(FORBIDDEN, f"this API key has no scope {scope!r}; use one that has")
    request.scope["project"] = principal.project
    return principal


Caller = Annotated[Principal, Depends(authenticated)]


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a request carries. Raises Problem (401) when it carries none."""
    if key := headers.get("x-api-key"):
        return key.strip()
    given = headers.get("authorization", "")
    scheme, _, value = given.partition(" ")
    if given and scheme.lower() != "bearer":
        raise unauthorized(f"the Authorization header does not begin with 'Bearer '; {HOW}")
    if not value.strip():
        raise unauthorized(f"the request carries no API key; {HOW}")
    return value.strip()
