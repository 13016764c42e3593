"""Server-sent events from bytes, however they are cut. Pure; follows the WHATWG specification.

What the events mean is in `feed.py`. The field `retry` is left out: `retries.py` decides when to come back.
"""

import codecs
from dataclasses import dataclass
from typing import Final

from studio.client.errors import BadAnswer

EVENT_LIMIT: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class ServerEvent:
    """One event; `id` is the last that the stream has named, by this event or an earlier one."""

    name: str
    data: str
    id: str


class EventParser:
    """Takes a stream's bytes and returns the events that are complete. One parser for one connection."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._id = ""

    def take(self, chunk: bytes) -> list[ServerEvent]:
        """Raises BadAnswer when an event grows beyond EVENT_LIMIT characters."""
        text = self._rest + self._decoder.decode(chunk)
        # A carriage return at the end may be the first half of a line end.
        held = "\r" if text.endswith("\r") else ""
        *lines, self._rest = _lines(text.removesuffix(held))
        self._rest += held
        if len(self._rest) + self._size > EVENT_LIMIT:
            raise BadAnswer(f"an event of the stream is larger than {EVENT_LIMIT} characters")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
                # With the line end, so that empty lines count, too.
                self._size += len(value) + 1
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(name, "\n".join(data), self._id) if data else None


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
