"""Services as real processes, started and ended by a test; every wait is bounded."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from studio.stack.ports import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
READY_S = 20.0


class ServiceProcess:
    """One uvicorn process of a factory, with its log in a file."""

    def __init__(self, factory: str, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self._argv = [sys.executable, "-m", "uvicorn", "--factory", factory, "--host", "127.0.0.1"]
        self._argv += ["--port", str(self.port), "--no-access-log"]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError("the process was not started")
        return self._child

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self._argv, cwd=ROOT, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )

    async def ready(self) -> None:
        async def answers() -> bool:
            assert self.child.poll() is None, self.log.read_text()[-3000:]
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
        self.child.send_signal(number)

    async def stop(self, *, within_s: float = 20.0) -> None:
        """SIGTERM, and wait for the end; uvicorn stops in good order and then ends by the same signal."""
        self.signal(signal.SIGTERM)
        code = await self.exit_code(within_s=within_s)
        assert code in {0, -signal.SIGTERM}, self.log.read_text()[-3000:]

    async def exit_code(self, *, within_s: float = 20.0) -> int:
        return await asyncio.to_thread(self.child.wait, within_s)

    def end(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.kill()
            self._child.wait(10)


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
