"""Services as real processes, started and ended by a test; every wait is bounded."""

import asyncio
import multiprocessing
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn

from studio.stack.ports import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
READY_S = 20.0

# Every process is a fork of a server that has the services imported already: importing them anew would
# cost more than a second of each start, and there are hundreds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["services.runner.app", "services.gateway.app", "uvicorn.logging", "uvloop"])


def serve(factory: str, port: int, environment: dict[str, str], log: Path) -> None:
    """What the process does: as `python -m uvicorn` with this environment, its output in the log."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    uvicorn.run(factory, factory=True, host="127.0.0.1", port=port, access_log=False)


class ServiceProcess:
    """One uvicorn process of a factory, with its log in a file."""

    def __init__(self, factory: str, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self._child = FORKS.Process(
            target=serve, args=(factory, self.port, {**os.environ, **environment}, log), daemon=True
        )

    @property
    def pid(self) -> int:
        assert self._child.pid is not None, "the process was not started"
        return self._child.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.log.touch()
        self._child.start()

    def runs(self) -> bool:
        return self._child.is_alive()

    async def ready(self) -> None:
        async def answers() -> bool:
            assert self.runs(), self.log.read_text()[-3000:]
            return await self.status("/health/ready") == 200

        await eventually(answers, within_s=READY_S, every_s=0.05)

    async def status(self, path: str) -> int | None:
        """The HTTP status of a path; None when nobody answers."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
                return (await client.get(self.url + path)).status_code
        except httpx.HTTPError:
            return None

    async def metric(self, name: str, labels: str = "") -> float:
        """The value of a metric, as of `studio_runs_total` with `{outcome="finished"}`; 0 if absent."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            text = (await client.get(self.url + "/metrics")).text
        found = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def stop(self, *, within_s: float = 20.0) -> None:
        """SIGTERM, and wait for the end; uvicorn stops in good order and then ends by the same signal."""
        self.signal(signal.SIGTERM)
        code = await self.exit_code(within_s=within_s)
        assert code in {0, -signal.SIGTERM}, self.log.read_text()[-3000:]

    async def exit_code(self, *, within_s: float = 20.0) -> int:
        await asyncio.to_thread(self._child.join, within_s)
        assert self._child.exitcode is not None, f"still running after {within_s:g} s"
        return self._child.exitcode

    def end(self) -> None:
        if self.runs():
            self.signal(signal.SIGCONT)
            self._child.kill()
            self._child.join(10)


@asynccontextmanager
async def service(
    factory: str, environment: Mapping[str, str], log: Path, *, ready: bool = True
) -> AsyncIterator[ServiceProcess]:
    process = ServiceProcess(factory, environment, log)
    process.start()
    try:
        if ready:
            await process.ready()
        yield process
    finally:
        process.end()
