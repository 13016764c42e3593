"""The bound on open streams: a place is taken when it is asked for, and given back once."""

import pytest

from services.gateway.problems import Problem
from services.gateway.streams import Streams


def test_a_place_is_taken_at_the_check_and_given_back_once() -> None:
    streams = Streams(2)
    first = streams.reserve("events")
    # All are given back in the end: the gauge of open streams is the whole process's.
    with streams.reserve("chat"):
        with pytest.raises(Problem, match="2 streams open"):
            streams.reserve("events")
        first.release()
        first.release()
        with streams.reserve("events") as second:
            assert second is not first
            with pytest.raises(Problem):
                streams.reserve("events")
        with streams.reserve("events"):
            pass
