"""The embedded stack for tests, with a simulator that thinks fast; and the `studio` command in its folder.

At its end every run that was recorded is rehearsed.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from studio.stack.plan import Options
from studio.stack.supervisor import Stack
from tests.support.rehearsed import check_broker

OURS = ("STUDIO_", "MISTRAL_", "GATEWAY_", "RUNNER_", "SIMULATOR_")


def environment(**more: str) -> dict[str, str]:
    """The variables of this process without those that would change what is tested."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "SIMULATOR_LATENCY_SCALE": "0.1", "MISTRAL_RETRY_MIN_WAIT": "0.2", **more}


@contextmanager
def embedded_stack(folder: Path) -> Iterator[Stack]:
    with Stack(folder / ".studio", Options(environ=environment(), fsync=False)) as stack:
        yield stack
        asyncio.run(check_broker(stack.nats_url))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "studio.cli", *arguments]


def studio(folder: Path, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run `studio` in the folder to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=with_project(environment(**more)),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def with_project(environ: Mapping[str, str]) -> dict[str, str]:
    """`python -m` must find the project from any folder."""
    return {**environ, "PYTHONPATH": str(Path(__file__).parents[2])}
