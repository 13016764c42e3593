"""Looking at a replay again and again until it has ended: how often, and for how long."""

import time
from collections.abc import Iterator
from typing import Final

from studio.client.errors import ReplayUnfinished

FIRST_S: Final = 0.05
LONGEST_S: Final = 1.0
GROWTH: Final = 1.3


def pauses(replay_id: str, wait_s: float | None) -> Iterator[float]:
    """Seconds until the next look, longer and longer. Raises ReplayUnfinished after `wait_s` seconds."""
    deadline = time.monotonic() + wait_s if wait_s is not None else None
    pause_s = FIRST_S
    while True:
        yield pause_s
        if deadline is not None and time.monotonic() >= deadline:
            raise ReplayUnfinished(f"replay {replay_id} had not ended after {wait_s:g} seconds", replay_id)
        pause_s = min(pause_s * GROWTH, LONGEST_S)
