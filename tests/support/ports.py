"""Ports that stay free between choosing and using them: outside the range that connections are given."""

import random

from studio.stack.ports import is_free

RANGE = range(20_000, 30_000)


def quiet_ports(count: int) -> list[int]:
    chosen: list[int] = []
    for port in random.SystemRandom().sample(RANGE, 100):
        if len(chosen) < count and is_free(port):
            chosen.append(port)
    assert len(chosen) == count
    return chosen
