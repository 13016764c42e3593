"""A page of steps on the wire, bounded in number and bytes; stored texts are not parsed again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.gateway.reads import StepText

MOST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class Page:
    """`next_after` is the last step's seq when more steps follow."""

    texts: list[bytes]
    next_after: int | None


def page_of(steps: Sequence[StepText], limit: int) -> Page:
    """The first `limit` of the steps, fewer when they are large, but at least one."""
    texts: list[bytes] = []
    size = 0
    for step in steps[:limit]:
        size += len(step.text)
        if texts and size > MOST_BYTES:
            break
        texts.append(step.text)
    more = len(texts) < len(steps)
    return Page(texts, steps[len(texts) - 1].seq if more else None)


def with_steps(head: bytes, field: str, texts: Sequence[bytes], next_after: int | None) -> bytes:
    """The JSON object `head` with the steps as its `field`."""
    fields = b'"%s":[%s],"next_after":%s}' % (
        field.encode(),
        b",".join(texts),
        b"null" if next_after is None else b"%d" % next_after,
    )
    return b"{" + fields if head == b"{}" else head[:-1] + b"," + fields
