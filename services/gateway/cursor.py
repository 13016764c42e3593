"""The opaque place in a list where the next page begins. Pure."""

import base64
import binascii
from typing import Final
from uuid import UUID

from services.gateway.problems import Problem, invalid

VERSION: Final = b"\x01"


def encode_cursor(run_id: str) -> str:
    """The place just behind this run."""
    return base64.urlsafe_b64encode(VERSION + UUID(run_id).bytes).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> UUID:
    """Raises Problem (422) for what `encode_cursor` did not make."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if len(data) != 17 or data[:1] != VERSION or encode_cursor(str(UUID(bytes=data[1:]))) != cursor:
        raise _bad_cursor()
    return UUID(bytes=data[1:])


def _bad_cursor() -> Problem:
    return invalid("cursor", "give the next_cursor of an earlier answer, unchanged, or leave it out")
