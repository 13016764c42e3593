"""Server-sent events, however their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.client import sse
from studio.client.errors import BadAnswer
from studio.client.sse import EventParser, ServerEvent

STREAM = (
    "\ufeff: a comment\r\n"
    "id: 0\nevent: step\ndata: {}\n\n"
    "data: first\ndata: second\n\n"
    "event: nothing to say\n\n"
    "id: 1\r\nevent: step\r\ndata:no space\r\n\r\n"
    "data: a separator \u2028 and \x85 are no line ends, nor is 🦀\n\n"
    "unknown: field\ndata\n\n"
    "data: never ended\n"
).encode()
EVENTS = [
    ServerEvent("step", "{}", "0"),
    ServerEvent("message", "first\nsecond", "0"),
    ServerEvent("step", "no space", "1"),
    ServerEvent("message", "a separator \u2028 and \x85 are no line ends, nor is 🦀", "1"),
    ServerEvent("message", "", "1"),
]


def parse(*chunks: bytes) -> list[ServerEvent]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.take(chunk)]


def test_events_are_read_as_the_specification_says() -> None:
    assert parse(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[begin:end] for begin, end in pairwise(places)]
    assert parse(*chunks) == EVENTS


def test_stream_is_read_byte_by_byte() -> None:
    assert parse(*(bytes([byte]) for byte in STREAM)) == EVENTS


def test_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_LIMIT", 1000)
    with pytest.raises(BadAnswer, match="larger than 1000"):
        parse(b"data: ", *[b"x" * 100] * 20)
    with pytest.raises(BadAnswer, match="larger than 1000"):
        parse(*[b"data: " + b"x" * 100 + b"\n"] * 20)
    with pytest.raises(BadAnswer, match="larger than 1000"):
        parse(*[b"data\n" * 100] * 20)
