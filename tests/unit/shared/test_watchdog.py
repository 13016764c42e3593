"""The watchdog ends a process whose loop is silent, and leaves alone one that was merely stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.watchdog import EXIT_CODE, Watchdog
from tests.support.waiting import eventually

SILENCE_S = 0.4


@contextmanager
def watching(*, closed: bool = False) -> Iterator[tuple[Watchdog, list[int]]]:
    ends: list[int] = []
    watchdog = Watchdog(lambda: closed, silence_s=SILENCE_S, end=ends.append)
    watchdog.start()
    try:
        yield watchdog, ends
    finally:
        watchdog.stop()


async def test_a_silent_loop_ends_the_process() -> None:
    with watching() as (_, ends):
        time.sleep(SILENCE_S * 2.5)  # noqa: ASYNC251 - the loop is meant to be blocked
        assert ends
        assert set(ends) == {EXIT_CODE}


async def test_a_loop_that_answers_is_left_alone() -> None:
    with watching() as (watchdog, ends):
        began = time.monotonic()
        await eventually(lambda: time.monotonic() - began > SILENCE_S * 2)
        assert ends == []
        assert watchdog.silent_for() < SILENCE_S


async def test_a_connection_closed_for_good_ends_the_process() -> None:
    with watching(closed=True) as (_, ends):
        await eventually(lambda: EXIT_CODE in ends, within_s=3)


async def test_a_stopped_watchdog_ends_nothing() -> None:
    with watching() as (watchdog, ends):
        watchdog.stop()
        time.sleep(SILENCE_S * 2)  # noqa: ASYNC251 - the loop is meant to be blocked
        assert ends == []


SLEEPER = f"""
import asyncio, sys, time
from shared.watchdog import Watchdog
async def main():
    Watchdog(lambda: False, silence_s={SILENCE_S}).start()
    for line in sys.stdin:  # blocks the loop between two lines
        break
async def healthy():
    Watchdog(lambda: False, silence_s={SILENCE_S}).start()
    print("ready", flush=True)
    for _ in range(60):
        await asyncio.sleep(0.02)
    print("alive", flush=True)
asyncio.run(healthy() if sys.argv[1] == "healthy" else main())
"""


def _child(mode: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", SLEEPER, mode]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_process_with_a_blocked_loop_exits_with_its_code() -> None:
    with _child("blocked") as child:
        assert child.wait(10) == EXIT_CODE


def test_a_stopped_process_is_not_killed_when_it_continues() -> None:
    with _child("healthy") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, signal.SIGSTOP)
        threading.Event().wait(SILENCE_S * 4)
        os.kill(child.pid, signal.SIGCONT)
        assert child.stdout.readline() == "alive\n"
        assert child.wait(10) == 0
