"""A script: runs one untrusted program in pydantic-monty and tells what it printed, gave or broke at.

The interpreter itself runs in a worker process that Monty starts. This process stands between it and the
runner because a value that the program gives must be unfolded on this side: a list of a thousand times one
list of a thousand times one list fills the memory. The kernel holds both processes to limits as well.
"""

import json
import os
import resource
import signal
import sys
import threading
from typing import Any, Final

from pydantic_monty import Monty, MontyCrashedError, MontyRuntimeError, MontySyntaxError, ResourceLimits

RECURSION: Final = 500
OWN_MEMORY: Final = 320 * 1024 * 1024  # address space of this process and of the worker's threads
OWN_TIME_S: Final = 2
MOST_SHOWN: Final = 16 * 1024
MOST_MESSAGE: Final = 2000


class Printed:
    """What the program printed, cut at a bound with a mark."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._kept = 0
        self._all = 0

    def __call__(self, stream: str, text: str) -> None:
        kept = text[: MOST_SHOWN - self._kept]
        self._parts.append(kept)
        self._kept += len(kept)
        self._all += len(text)

    @property
    def text(self) -> str:
        mark = f"\n[cut: {self._all} characters were printed]" if self._all > self._kept else ""
        return "".join(self._parts) + mark


def main() -> None:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    _limit(request["memory"], int(request["time_s"]) + 1)
    printed = Printed()
    try:
        answer: dict[str, object] = {"result": _run(request, printed)}
    except (MontyRuntimeError, MontySyntaxError) as error:
        answer = _told(error)
    except MontyCrashedError:
        answer = {"error": "MemoryError: the program was stopped, it needed too much memory"}
    except (MemoryError, OverflowError, RecursionError, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: the last value cannot be shown; print a part of it"}
    # Text of the program may hold lone surrogates: ASCII carries them as escapes.
    json.dump({**answer, "stdout": printed.text}, sys.stdout)


def _run(request: dict[str, Any], printed: Printed) -> str | None:
    limits: ResourceLimits = {
        "max_feed_duration_secs": request["time_s"],
        "max_memory": request["memory"],
        "max_recursion_depth": RECURSION,
    }
    with (
        Monty(min_processes=1, max_processes=1) as pool,
        pool.checkout(limits=limits, os_policy={"sleep": "zero"}) as session,
    ):
        value = session.feed_run(request["code"], print_callback=printed)
    if value is None:
        return None
    shown = repr(value)
    return shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}\n[cut: {len(shown)} characters]"


def _told(error: MontyRuntimeError | MontySyntaxError) -> dict[str, object]:
    """What went wrong, and the innermost line that is known."""
    told: dict[str, object] = {"error": error.display("type-msg")[:MOST_MESSAGE]}
    frames = error.traceback()
    if frames:
        told |= {"line": frames[-1].line, "source": (frames[-1].source_line or "").strip()[:200]}
    return told


def _end_with_the_runner() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


def _limit(memory: int, time_s: int) -> None:
    address_space = OWN_MEMORY + 2 * memory
    seconds = time_s + OWN_TIME_S
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
