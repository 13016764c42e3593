"""The stack as it runs in production, but with a runner whose model is in its own process."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg

from studio.stack.plan import Options
from studio.stack.processes import RUNNER, TABLE, Table
from studio.stack.supervisor import Stack

INSTANT = "benchmarks.fake_model:make_app"
STREAMING = "benchmarks.fake_model:make_streaming_app"


@contextmanager
def stack(runner: str = INSTANT, *, without: tuple[str, ...] = ()) -> Iterator[Stack]:
    """Everything fresh in a folder of its own; `without` leaves services out."""
    services = tuple(
        replace(service, app=runner) if service.name == RUNNER else service
        for service in TABLE.services
        if service.name not in without
    )
    # A server is named so that no simulator runs; the model in the runner never asks it.
    environ = {**os.environ, "MISTRAL_SERVER_URL": "http://127.0.0.1:9", "LOG_LEVEL": "WARNING"}
    environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        Path(folder).chmod(0o755)
        options = Options(environ=environ, table=Table(TABLE.steps, services))
        with Stack(Path(folder) / "data", options) as running:
            yield running


async def connect(running: Stack) -> asyncpg.Connection:
    return await asyncpg.connect(running.database_url)
