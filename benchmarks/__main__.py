"""`make bench`: measure everything, or only what is named: `python -m benchmarks engine recording`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from benchmarks import diff, engine, reading, recording, replaying, streaming
from benchmarks.figures import Figure, report

BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "engine": engine.measure,
    "accept": engine.accept_rate,
    "recording": recording.measure,
    "streaming": streaming.measure,
    "reading": reading.measure,
    "diff": diff.measure,
    "replaying": replaying.measure,
}


async def main(names: list[str]) -> None:
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        print(f"measuring {name} …", flush=True)
        figures += await BENCHMARKS[name]()
    report(figures)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
