"""Tickets: what opens a WebSocket where a page cannot send a key. Good for one use within 30 seconds."""

import base64
import hmac
import secrets
from collections.abc import Callable
from time import time
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from services.gateway.idempotency import Idempotency
from services.gateway.key_ring import Principal
from services.gateway.problems import Problem, unauthorized

LIFETIME_S: Final = 30
# Like a key's: what begins so is redacted wherever it is logged, and the server logs a socket's whole URL.
PREFIX: Final = "aos_ticket_"
SIGNATURE_LENGTH: Final = 43


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str
    key_id: str
    key_name: str
    scopes: frozenset[str]
    expires: float
    nonce: str


class Tickets:
    """A ticket is signed, so issuing one stores nothing; the broker remembers those that were used."""

    def __init__(self, pepper: str, idempotency: Idempotency, *, clock: Callable[[], float] = time) -> None:
        self._secret = hmac.digest(pepper.encode(), b"tickets", "sha256")
        self._idempotency = idempotency
        self._clock = clock

    def issue(self, principal: Principal) -> str:
        claims = _Claims(
            project=principal.project,
            key_id=principal.key_id,
            key_name=principal.key_name,
            scopes=principal.scopes,
            expires=self._clock() + LIFETIME_S,
            nonce=secrets.token_hex(16),
        )
        body = _encoded(claims.model_dump_json().encode())
        return f"{PREFIX}{body}{self._signature(body)}"

    async def redeem(self, ticket: str) -> Principal:
        """Who the ticket was issued to. Raises Problem (401), or Unavailable when use cannot be noted."""
        text = ticket.removeprefix(PREFIX)
        body, signature = text[:-SIGNATURE_LENGTH], text[-SIGNATURE_LENGTH:]
        if text == ticket or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise _refused("the ticket is not one of ours")
        try:
            claims = _Claims.model_validate_json(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValidationError, ValueError):
            raise _refused("the ticket is not readable") from None
        if claims.expires < self._clock():
            raise _refused(f"the ticket is older than {LIFETIME_S} s")
        # Longer than any ticket lives, whichever gateway's clock is behind.
        if not await self._idempotency.use_once(f"ticket.{claims.nonce}", ttl_s=2 * LIFETIME_S):
            raise _refused("the ticket was used before")
        return Principal(claims.project, claims.key_id, claims.key_name, claims.scopes)

    def _signature(self, body: str) -> str:
        return _encoded(hmac.digest(self._secret, body.encode("utf-8", "replace"), "sha256"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _refused(why: str) -> Problem:
    return unauthorized(f"{why}; get a new one with POST /api/tickets")
