"""A service as a real process: probes, metrics, logs, and a stop that loses nothing."""

import asyncio
import json
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from shared.bus import RECORDER, RUNS, client_of, jetstream, make_broker
from shared.run_log import RunLog
from studio.stack.nats import NatsServer
from tests.support.processes import ServiceProcess, service
from tests.support.steps import new_key, result
from tests.support.waiting import eventually

FACTORY = "tests.support.plain_app:make_app"


class Plain:
    """The service of `plain_app`, its environment and what it noted."""

    def __init__(self, url: str, folder: Path) -> None:
        self.notes_file = folder / "notes"
        self.notes_file.touch()
        self.log = folder / "service.log"
        self.environment = {"NATS_URL": url, "TEST_NOTES": str(self.notes_file)}

    def started(self, *, ready: bool = True, **environment: str) -> Any:
        return service(FACTORY, {**self.environment, **environment}, self.log, ready=ready)

    def notes(self, start: str) -> list[str]:
        return [line for line in self.notes_file.read_text().splitlines() if line.startswith(start)]

    def switch(self, name: str) -> Path:
        return Path(f"{self.notes_file}.{name}")


@pytest.fixture
def plain(nats_url: str, tmp_path: Path) -> Plain:
    return Plain(nats_url, tmp_path)


async def readiness(process: ServiceProcess) -> tuple[int, dict[str, str]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{process.url}/health/ready")
    verdicts: dict[str, str] = answer.json()
    return answer.status_code, verdicts


async def test_probes_and_metrics_of_a_service(plain: Plain) -> None:
    async with plain.started() as process:
        assert await process.status("/health/live") == 200
        assert await readiness(process) == (
            200,
            {"broker": "ok", "patient": "ok", "consumer recorder": "ok"},
        )
        assert await process.metric("process_open_fds") > 0
        plain.switch("ill").touch()
        status, verdicts = await readiness(process)
        assert (status, verdicts["patient"]) == (503, "the test says so")
        assert await process.status("/health/live") == 200
        plain.switch("ill").unlink()
        assert (await readiness(process))[0] == 200


async def test_readiness_follows_the_broker_and_comes_back(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        plain = Plain(server.url, tmp_path)
        async with plain.started() as process:
            await asyncio.to_thread(server.kill)
            await eventually(lambda: _not_ready(process))
            assert await process.status("/health/live") == 200
            await asyncio.to_thread(server.start)
            await process.ready()


async def _not_ready(process: ServiceProcess) -> bool:
    return await process.status("/health/ready") == 503


async def test_a_service_started_before_its_broker_becomes_ready_once_it_is_there(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    with server:
        pass  # it has its port now
    plain = Plain(server.url, tmp_path)
    async with plain.started(ready=False) as process:
        await asyncio.sleep(2.5)
        assert process.runs(), plain.log.read_text()[-2000:]
        with server:
            await process.ready()


async def test_a_service_that_waits_for_its_broker_can_be_stopped(tmp_path: Path) -> None:
    plain = Plain("nats://127.0.0.1:9", tmp_path)
    async with plain.started(ready=False) as process:
        await eventually(lambda: "Waiting for application startup" in plain.log.read_text())
        process.signal(signal.SIGTERM)
        assert await process.exit_code(within_s=6) != 0
    assert "no broker answered" in plain.log.read_text()


async def test_logs_are_json_lines_with_the_services_name(plain: Plain) -> None:
    async with plain.started() as process:
        await process.stop()
    lines = [line for line in plain.log.read_text().splitlines() if line.startswith("{")]
    parsed = [json.loads(line) for line in lines]
    assert {"service starts", "service stops"} <= {line["event"] for line in parsed}
    assert {line["service"] for line in parsed} == {"plain"}
    assert "Traceback" not in plain.log.read_text()


async def test_a_stop_finishes_the_batch_and_acknowledges_it_while_the_broker_is_still_connected(
    plain: Plain, run_log: RunLog
) -> None:
    key = new_key()
    async with plain.started(TEST_HANDLER_S="0.7") as process:
        await run_log.append(key, run_log.seal([result(key, seq, seq) for seq in range(1, 6)]), 0)
        await eventually(lambda: plain.notes("begin"))
        began = monotonic()
        await process.stop()
        assert monotonic() - began < 5
    assert len(plain.notes("step")) == 5
    assert plain.notes("farewell") == ["farewell"], "the parts are left while the broker can still be used"
    info = await jetstream(run_log._client).consumer_info(RUNS, RECORDER.name)
    assert (info.num_ack_pending, info.num_pending) == (0, 0)


async def test_a_stop_hands_back_what_was_not_begun(plain: Plain, run_log: RunLog) -> None:
    async with plain.started(TEST_HANDLER_S="0.5") as process:
        for _ in range(40):
            key = new_key()
            await run_log.append(key, run_log.seal([result(key, 1, 1)]), 0)
        await eventually(lambda: plain.notes("begin"))
        await process.stop()
    async with plain.started():
        await eventually(lambda: _all_acknowledged(run_log), within_s=10)  # not the wait of 30 s
    assert len(plain.notes("step")) == 40


async def _all_acknowledged(run_log: RunLog) -> bool:
    info = await jetstream(run_log._client).consumer_info(RUNS, RECORDER.name)
    return not info.num_ack_pending and not info.num_pending


async def test_a_service_whose_background_task_dies_ends(plain: Plain) -> None:
    async with plain.started() as process:
        plain.switch("doom").touch()
        await process.exit_code(within_s=10)
    assert "background task died" in plain.log.read_text()


async def test_a_service_that_was_stopped_for_a_moment_goes_on(plain: Plain) -> None:
    async with plain.started() as process:
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        process.signal(signal.SIGCONT)
        await process.ready()


async def test_two_services_do_not_hear_each_others_answers(nats_url: str) -> None:
    async with make_broker("left", nats_url) as left, make_broker("right", nats_url) as right:
        inboxes = client_of(left).new_inbox(), client_of(right).new_inbox()
        assert [inbox.split(".")[0] for inbox in inboxes] == ["_INBOX_left", "_INBOX_right"]
