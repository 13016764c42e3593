"""Reading a request's body within bounds of size and time, each body's and those of all together."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from services.gateway.problems import (
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    unavailable,
)
from services.gateway.validation import invalid_body

BODY_LIMIT: Final = 1024 * 1024
BODY_TIMEOUT_S: Final = 30.0
STREAM_TIMEOUT_S: Final = 900.0
# Of all bodies that are on their way in at one time: a client may open as many connections as it likes.
MOST_ARRIVING: Final = 64 * BODY_LIMIT
# A client that is still sending does not read the answer: this much is taken in and thrown away first.
DISCARD_LIMIT: Final = 32 * BODY_LIMIT
DISCARD_TIMEOUT_S: Final = 5.0

Model = TypeVar("Model", bound=BaseModel)


async def read_model(request: Request, model: type[Model], *, optional: bool = False) -> Model:
    """The body as `model`; an `optional` one may be empty. Raises Problem: 408, 413, 415 or 422."""
    _require_json(request)
    data = await read_body(request)
    if optional and not data:
        return model()
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise invalid_body(error, model) from None


async def read_body(request: Request, most: int = BODY_LIMIT, timeout_s: float | None = None) -> bytes:
    """At most so many bytes. Raises Problem when there are more or they come too slowly."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        await _discard(request, int(declared))
        raise _too_large(most)
    timeout_s = timeout_s or BODY_TIMEOUT_S
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(request, most)
    except TimeoutError:
        raise Problem(
            REQUEST_TIMEOUT, f"the body did not arrive within {timeout_s:g} s", headers=_CLOSE
        ) from None


async def body_chunks(request: Request) -> AsyncIterator[bytes]:
    """A body of any size, piece by piece. Raises Problem when nothing comes for too long, or too little."""
    deadline, more = monotonic() + STREAM_TIMEOUT_S, True
    while more:
        try:
            async with asyncio.timeout(min(BODY_TIMEOUT_S, deadline - monotonic())):
                chunk, more = await _receive(request)
        except TimeoutError:
            raise Problem(REQUEST_TIMEOUT, "the body came too slowly", headers=_CLOSE) from None
        yield chunk


def media_type_of(request: Request) -> str:
    """Without its parameters. A body without a declared type counts as JSON."""
    given = request.headers.get("content-type", "application/json")
    return given.partition(";")[0].strip().lower()


class _Arriving:
    """A body on its way in, counted until the block ends."""

    of_all: ClassVar[int] = 0

    def __init__(self) -> None:
        self.size = 0

    def add(self, size: int) -> None:
        """Raises Problem (503) when the bodies of all requests have become too large together."""
        self.size += size
        _Arriving.of_all += size
        if _Arriving.of_all > MOST_ARRIVING:
            raise unavailable(
                "too many large bodies arrive at the same time; nothing was accepted: try again"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _Arriving.of_all -= self.size


async def _collect(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    with _Arriving() as body:
        while True:
            chunk, more = await _receive(request)
            body.add(len(chunk))
            if body.size > most:
                await _discard(request, DISCARD_LIMIT)
                raise _too_large(most)
            chunks.append(chunk)
            if not more:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _receive(request: Request) -> tuple[bytes, bool]:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


async def _discard(request: Request, size: int) -> None:
    if size > DISCARD_LIMIT:
        return
    left, more = size, True
    try:
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            while more and left > 0:
                chunk, more = await _receive(request)
                left -= len(chunk)
    except TimeoutError:
        return


_CLOSE: Final = {"Connection": "close"}


def _too_large(most: int) -> Problem:
    return Problem(TOO_LARGE, f"the body is larger than the limit of {most} bytes", headers=_CLOSE)


def _require_json(request: Request) -> None:
    essence = media_type_of(request)
    if essence != "application/json" and not essence.endswith("+json"):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"the content type is {essence[:80]!r}; send application/json")
