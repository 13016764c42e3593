"""What is shown of a text that may be large: whole up to 64 KiB, else its beginning. Pure.

A run looks the same whether it is read from its log or from its row.
"""

from typing import Final, NamedTuple

from shared.steps import BodyRef

WHOLE_BYTES: Final = 64 * 1024
PREVIEW_CHARACTERS: Final = 4096


class Shown(NamedTuple):
    """`body` is the hash of the whole when `text` is only its beginning."""

    text: str | None = None
    body: str | None = None


def shown(readable: str, ref: BodyRef) -> Shown:
    """The text behind a reference; `readable` needs to hold its first 4,096 characters, or all of it."""
    if ref.size <= WHOLE_BYTES:
        return Shown(readable)
    return Shown(readable[:PREVIEW_CHARACTERS], ref.sha256)
