"""Ed25519 keys of deployments, as they stand in settings and manifests: 32 raw bytes in base64."""

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES: Final = 32
SHOWN: Final = 16
"""Characters of a fingerprint."""


class SigningKey:
    """Raises ValueError, without the text, for what is no base64 of 32 bytes."""

    def __init__(self, seed: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw_key(seed))

    @property
    def public(self) -> str:
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, data: bytes) -> bytes:
        return base64.b64encode(self._key.sign(data)) + b"\n"


def is_signed(public_key: str, data: bytes, signature: bytes) -> bool:
    """Whether the owner of the key has signed these very bytes. Raises ValueError for what is no key."""
    key = Ed25519PublicKey.from_public_bytes(raw_key(public_key))
    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), data)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def fingerprint(public_key: str) -> str:
    """What people compare: the beginning of the sha256 of the key's 32 bytes."""
    return hashlib.sha256(raw_key(public_key)).hexdigest()[:SHOWN]


def raw_key(text: str) -> bytes:
    """The 32 bytes of a key. Raises ValueError, without the text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError(f"a key is the base64 of {KEY_BYTES} bytes")
    return raw
