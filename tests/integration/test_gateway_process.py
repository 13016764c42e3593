"""The gateway as a process, as every deployment starts it: it comes up, and it ends when it is told to."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.gateway.keys import Keys
from shared.bus import client_of, make_broker
from shared.database import Database
from studio.stack.ports import free_port
from tests.support.events import following
from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import PEPPER
from tests.support.migrations import ROOT
from tests.support.waiting import eventually


def start(port: int, environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    arguments = ("--factory", "services.gateway.app:make_app", "--host", "127.0.0.1", "--port", str(port))
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *arguments, "--no-access-log"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@asynccontextmanager
async def process(
    nats_url: str, database_url: str, log: Path
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """A gateway process that is ready, and its URL."""
    port = free_port()
    given = {"NATS_URL": nats_url, "DATABASE_URL": database_url, "API_KEY_PEPPER": PEPPER}
    started = start(port, {**given, "LOG_LEVEL": "DEBUG"}, log)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as http:

            async def is_ready() -> bool:
                assert started.poll() is None, log.read_text()
                try:
                    return (await http.get(f"{url}/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_ready, within_s=20)
        yield started, url
    finally:
        started.kill()
        started.wait(10)


async def test_a_gateway_that_is_told_to_end_ends_its_streams_and_loses_no_run(
    nats_url: str, database_url: str, tmp_path: Path
) -> None:
    database, log = Database(database_url), tmp_path / "gateway.log"
    key = (await Keys(database, PEPPER).make("default", "test")).text
    await database.close()
    async with (
        make_broker("runner", nats_url) as broker,
        running_fake_runner(client_of(broker)),
        process(nats_url, database_url, log) as (gateway, url),
        httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=30) as http,
    ):
        ticket = (await http.post("/api/tickets")).json()["ticket"]
        chat = await connect(f"{url.replace('http', 'ws')}/api/ws/chat?ticket={ticket}", proxy=None)
        run_id = (await http.post("/api/runs", json={"prompt": "hold it"})).json()["run_id"]
        waiting = asyncio.create_task(http.post("/api/runs?wait=300", json={"prompt": "hold it"}))
        talking = asyncio.create_task(http.post("/api/chat", json={"message": "hold it"}))
        async with following(http, run_id) as events:
            assert (await anext(events)).data is not None

            async def is_waited_for() -> bool:
                return "studio_watched_runs 3.0" in (await http.get("/metrics")).text

            await eventually(is_waited_for)
            begun = monotonic()
            gateway.send_signal(signal.SIGTERM)
            rest = [event async for event in events]
        assert "Last-Event-ID" in rest[-1].data
        assert ((await waiting).status_code, (await waiting).json()["status"]) == (202, "running")
        assert (await talking).status_code == 504
        assert (await talking).json()["run_id"]
        try:
            await chat.recv()
            raise AssertionError("the chat was not closed")
        except ConnectionClosed:
            pass
        await asyncio.to_thread(gateway.wait, 10)
        assert monotonic() - begun < 8
    text = log.read_text()
    assert "Traceback" not in text
    assert "Application shutdown complete" in text
    assert key not in text
    assert ticket not in text
    assert ticket[-43:] not in text
    assert "hold it" not in text
    assert run_id in text


def test_a_gateway_without_its_settings_says_which(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    assert start(free_port(), {"API_KEY_PEPPER": "too short"}, log).wait(30) != 0
    assert "database_url" in log.read_text()
    assert "api_key_pepper" in log.read_text()
    assert "too short" not in log.read_text()
