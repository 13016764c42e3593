"""A response's body, bounded while it is read and unpacked, never after."""

import zlib
from dataclasses import dataclass
from typing import Protocol

import httpx2

from services.runner.tools.base import ToolError

ACCEPT_ENCODING = "gzip"


@dataclass(frozen=True)
class Body:
    """`complete` is false when there was more than was read."""

    data: bytes
    complete: bool


class Unpacker(Protocol):
    @property
    def complete(self) -> bool: ...

    def unpack(self, chunk: bytes, limit: int) -> bytes: ...


async def read_body(response: httpx2.Response, limit: int) -> Body:
    """At most `limit` bytes after decompression; of a larger body the rest is never read."""
    unpacker = _unpacker(response)
    data = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        data += unpacker.unpack(chunk, limit + 1 - len(data))
        # Compressed parts that unpack to nothing would otherwise be read for ever.
        if len(data) > limit or received > 2 * limit + 1024:
            return Body(bytes(data[:limit]), complete=False)
    return Body(bytes(data), unpacker.complete)


def _unpacker(response: httpx2.Response) -> Unpacker:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    raise ToolError(
        f"The server packed its answer with {encoding[:40]!r}, which was not asked for; try another URL."
    )


class _Plain:
    @property
    def complete(self) -> bool:
        return True

    def unpack(self, chunk: bytes, limit: int) -> bytes:
        return chunk


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def complete(self) -> bool:
        return self._stream.eof and not self._stream.unused_data

    def unpack(self, chunk: bytes, limit: int) -> bytes:
        try:
            return self._stream.decompress(chunk, limit)
        except zlib.error:
            raise ToolError("The server's answer is not valid gzip; try another URL.") from None
