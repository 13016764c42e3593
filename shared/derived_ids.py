"""Ids that follow from what they stand for: whoever makes the same thing again makes it under the same id."""

import hashlib
from datetime import datetime
from uuid import UUID


def derived_id(at: datetime, name: str) -> str:
    """A UUIDv7 of this time, whose random part is a hash of the name."""
    random = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10])
    milliseconds = int(at.timestamp() * 1000)
    number = milliseconds << 80 | 7 << 76 | (random >> 68) << 64 | 2 << 62 | random & (2**62 - 1)
    return str(UUID(int=number))
