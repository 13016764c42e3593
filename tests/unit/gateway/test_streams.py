"""The bound on open streams: a place is taken when it is asked for, and given back once."""

import pytest

from services.gateway.problems import Problem
from services.gateway.streams import Streams


def test_a_place_is_taken_at_the_check_and_given_back_once() -> None:
    streams = Streams(2)
    first, _ = streams.reserve("events"), streams.reserve("chat")
    with pytest.raises(Problem, match="2 streams open"):
        streams.reserve("events")
    first.release()
    first.release()
    with streams.reserve("events"), pytest.raises(Problem):
        streams.reserve("events")
    assert streams.reserve("events") is not first
