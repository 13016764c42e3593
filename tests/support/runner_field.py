"""Runners as real processes on a real broker, with models and tools that note what they did."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from shared.bus import RUNNER, client_of, make_broker
from shared.errors import Conflict
from shared.run_log import RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.steps import CancelRequested, RunFinished, RunStatus, RunWaiting, Step
from shared.subjects import RunKey, nudge_subject
from tests.support.broker import settled
from tests.support.processes import ServiceProcess, service
from tests.support.runs import ALL_TOOLS
from tests.support.steps import check_history, make, new_key, only, requested
from tests.support.waiting import eventually

FACTORY = "tests.support.runner_app:make_app"


class Field:
    """Runners on a broker, the runs that were sent to them, and what their models and tools noted."""

    def __init__(self, url: str, log: RunLog, folder: Path, stack: AsyncExitStack) -> None:
        self.url, self.log, self.folder, self._stack = url, log, folder, stack
        self.notes_file = folder / "notes"
        self.notes_file.touch()
        self.runners: list[ServiceProcess] = []

    async def runner(self, *, ready: bool = True, **environment: str) -> ServiceProcess:
        given = {
            "NATS_URL": self.url,
            "MISTRAL_API_KEY": "not-used",
            "MISTRAL_SERVER_URL": "http://127.0.0.1:9",
            "RUN_ACK_WAIT_S": "2",
            "TEST_NOTES": str(self.notes_file),
            "WORKSPACE_DIR": str(self.folder / "workspace"),
        }
        log = self.folder / f"runner-{len(self.runners)}.log"
        process = service(FACTORY, {**given, **environment}, log, ready=ready)
        self.runners.append(await self._stack.enter_async_context(process))
        return self.runners[-1]

    async def send(self, *, timeout_s: float = 600.0, **plan: Any) -> RunKey:
        return await self.send_with({"timeout_s": timeout_s}, **plan)

    async def send_with(self, snapshot: Mapping[str, Any], **plan: Any) -> RunKey:
        """A run whose step 0 has these fields besides."""
        key = new_key()
        prompt = json.dumps({"name": key.run_id, **plan})
        step = requested(key, **{"prompt": prompt, "tools": ALL_TOOLS, "max_rounds": 10, **snapshot})
        await self.log.request(key, self.log.seal([step]), patience_s=30)
        return key

    async def append(self, key: RunKey, kind: type[Any], **fields: Any) -> None:
        """As the gateway does it: append after what is there, and put the run back into the queue."""
        read = await self.log.read(key, fresh=True)
        state = fold(read.steps)
        step = make(kind, key, state.next_seq, attempt=state.attempt, **fields)
        sequence = await self.log.append(key, self.log.seal([step]), read.sequence)
        await self.log.requeue(key, cause=str(sequence))

    async def waiting(self, key: RunKey, *, within_s: float = 15.0) -> RunWaiting:
        """What the run waits for, once no runner has it."""

        async def wait() -> RunWaiting | None:
            state = fold(await self.steps(key))
            return state.waiting if state.status is RunStatus.WAITING else None

        step: RunWaiting = await eventually(wait, within_s=within_s, every_s=0.05)
        return step

    async def steps(self, key: RunKey) -> tuple[Step, ...]:
        return (await self.log.read(key, fresh=True)).steps

    async def cancel(self, key: RunKey) -> None:
        """As the gateway does it: append after what is there, again on conflict; then nudge."""
        while True:
            read = await self.log.read(key, fresh=True)
            step = make(CancelRequested, key, fold(read.steps).next_seq, who="user")
            try:
                await self.log.append(key, self.log.seal([step]), read.sequence)
            except Conflict:
                continue
            break
        await self.log._client.publish(nudge_subject(key), b"")

    async def finished(self, key: RunKey, *, within_s: float = 15.0) -> RunFinished:
        async def end() -> RunFinished | None:
            return next(iter(only(await self.steps(key), RunFinished)), None)

        step: RunFinished = await eventually(end, within_s=within_s, every_s=0.05)
        check_history(await self.steps(key))
        return step

    def notes(self, start: str) -> list[str]:
        return [line for line in self.notes_file.read_text().splitlines() if line.startswith(start)]

    async def acknowledged(self) -> bool:
        return await settled(self.log._client, RUNNER)


@asynccontextmanager
async def field_at(url: str, folder: Path) -> AsyncIterator[Field]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(make_broker("gateway", url))
        yield Field(url, RunLog(client_of(broker), Scrubber()), folder, stack)
