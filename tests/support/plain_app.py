"""The smallest service: consumes the recorder's messages and notes what it handled, and how it stopped."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from faststream.asgi import AsgiFastStream

from shared.bus import RECORDER, jetstream
from shared.errors import Unavailable
from shared.service import Runtime, make_service
from shared.settings import ServiceSettings
from shared.steps import Step


def note(line: str) -> None:
    with Path(os.environ["TEST_NOTES"]).open("a") as notes:
        notes.write(line + "\n")


async def handle(steps: Sequence[Step]) -> None:
    note(f"begin {len(steps)}")
    await asyncio.sleep(float(os.environ.get("TEST_HANDLER_S", "0")))
    for step in steps:
        note(f"step {step.seq}")


def make_app() -> AsgiFastStream:
    @asynccontextmanager
    async def parts(runtime: Runtime) -> AsyncIterator[None]:
        ill = Path(os.environ["TEST_NOTES"] + ".ill")

        async def check() -> None:
            if ill.exists():
                raise Unavailable("the test says so")

        async def doomed() -> None:
            while not Path(os.environ["TEST_NOTES"] + ".doom").exists():
                await asyncio.sleep(0.05)
            raise RuntimeError("a background task died")

        runtime.checks["patient"] = check
        task = runtime.keep(asyncio.create_task(doomed(), name="doomed"))
        try:
            async with runtime.consuming(RECORDER, handle, most_messages=10):
                yield
        finally:
            task.cancel()
            await jetstream(runtime.client).publish("catalog.farewell", b"{}")
            note("farewell")

    return make_service("plain", ServiceSettings(), parts)
