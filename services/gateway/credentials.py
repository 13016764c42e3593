"""The form of an API key and its keyed hash. Pure: no database, no clock.

A key reads `aos_<id>_<secret><checksum>`: the id finds the row, the secret proves the holder, and the
checksum tells a mistyped key from an unknown one before anything is looked up.
"""

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Final

SECRET_BYTES: Final = 32
KEY_PATTERN: Final = re.compile(r"aos_([a-z0-9]{12})_([A-Za-z0-9_-]{43})([0-9a-f]{8})", re.ASCII)


class MalformedKey(ValueError):
    """The text is no API key; the message says what is wrong with its form."""


@dataclass(frozen=True)
class Credential:
    """An API key in its parts. Its text is a secret: it is shown once and never stored or logged."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        return f"aos_{self.id}_{self.secret}{_checksum(self.id, self.secret)}"

    def digest(self, pepper: str) -> bytes:
        """HMAC-SHA256 of the secret under the pepper: what is stored instead of the key."""
        return hmac.digest(pepper.encode(), self.secret.encode(), "sha256")

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r})"


def mint() -> Credential:
    """A new key of 256 random bits."""
    return Credential(secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES))


def parse(text: str) -> Credential:
    """The parts of a key. Raises MalformedKey."""
    match = KEY_PATTERN.fullmatch(text)
    if match is None:
        raise MalformedKey("the key does not have the form aos_<id>_<secret>")
    key_id, secret, checksum = match.groups()
    if checksum != _checksum(key_id, secret):
        raise MalformedKey("the key's checksum is wrong: a character is missing or mistyped")
    return Credential(key_id, secret)


def _checksum(key_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{key_id}_{secret}'.encode()):08x}"
