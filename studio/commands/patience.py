"""Following what the server has taken, a run or a replay, while the gateway comes and goes: it goes on.

How a connection is made again is in `studio.client`; here it is said, and given up in words.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from shared.steps import Step
from studio.client.errors import Unavailable, Unreachable
from studio.client.events import Event
from studio.client.sync import Studio

# From the first failure in a row; a gateway that was killed is back sooner.
AWAY_S = 30.0
PAUSE_S = 0.5
Item = TypeVar("Item")
AWAY = "the gateway is away, waiting"


def events_of(studio: Studio, run_id: str, say: Callable[[str], None]) -> Generator[Event, None, None]:
    """The run's events to its end. Raises Unreachable, saying that the run goes on, after AWAY_S."""
    last = -1

    def follow() -> Generator[Event, None, None]:
        nonlocal last
        for event in studio.stream(run_id, after=last):
            last = event.seq if isinstance(event, Step) else last
            yield event

    return patiently(follow, goes_on(run_id), say)


def patiently(
    follow: Callable[[], Generator[Item, None, None]], goes_on: str, say: Callable[[str], None]
) -> Generator[Item, None, None]:
    """What is followed, taken up again where the gateway was away. Raises Unreachable, with the words of what
    goes on, after AWAY_S."""
    away_since = 0.0
    while True:
        try:
            with closing(follow()) as items:
                for item in items:
                    away_since = 0.0
                    yield item
            return
        except (Unreachable, Unavailable) as error:
            if not away_since:
                away_since = time.monotonic()
                say(AWAY)
            if time.monotonic() - away_since > AWAY_S:
                raise Unreachable(f"{error}\n{goes_on}") from error
            time.sleep(PAUSE_S)


def goes_on(run_id: str) -> str:
    """What can be done about a run that is no longer followed."""
    short = run_id[-8:]
    return (
        f"Run {run_id} goes on: `studio show {short}` shows how far it is, `studio cancel {short}` ends it."
    )
