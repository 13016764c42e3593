"""`studio up` as its user runs it: the real services, the command line, one agent's run."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.stack.folder import DataFolder
from studio.stack.orphans import end_orphans, find_orphans
from studio.stack.processes import TABLE
from tests.support.waiting import eventually, run_alone

STUDIO = (sys.executable, "-m", "studio.cli")
QUESTION = "What is 5 + 10, then multiply by 3?"
SERVICES = ["nats", "postgres", "simulator", "recorder", "cost", "replayer", "runner", "gateway"]
GIB_IN_MIB = 1024
RUNNER_GRACE_S = TABLE.service("runner").grace_s


class Terminal:
    """The `studio` command over one data folder, without a model key in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, command: str, *arguments: str, code: int = 0) -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MISTRAL_")}
        done = subprocess.run(
            [*STUDIO, command, *arguments, "--folder", str(self.folder)],
            env={**environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self("status", "--json")))

    def request(self, path: str, body: object = None, *, key: str | None = None) -> tuple[int, Any]:
        """Ask the gateway; returns the status and the decoded body."""
        status = self.status()
        headers = {
            "Authorization": f"Bearer {key or Path(status['key_file']).read_text().strip()}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(status["gateway_url"] + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("e2e") / "studio"
    terminal = Terminal(folder)
    try:
        terminal("up", "--detach")
        yield terminal
    finally:
        terminal("down")
        end_orphans(DataFolder.at(folder))


def _restarts(terminal: Terminal, name: str) -> int:
    state = json.loads((terminal.folder / "state.json").read_text())
    return next(int(each["restarts"]) for each in state["processes"] if each["name"] == name)


def test_everything_is_healthy_in_less_than_a_gibibyte(terminal: Terminal) -> None:
    status = terminal.status()
    assert (status["status"], status["healthy"], status["provider"]) == ("ready", True, "simulator")
    assert [each["name"] for each in status["processes"]] == SERVICES
    assert status["memory_mb"] < GIB_IN_MIB


def test_the_doctor_finds_no_problem(terminal: Terminal) -> None:
    assert "no problems found" in terminal("doctor")


def test_an_agent_answers_through_every_service(terminal: Terminal) -> None:
    status, run = terminal.request("/api/runs?wait=30", {"prompt": QUESTION})
    assert (status, run["status"]) == (200, "completed")
    assert "45" in run["response"]


def test_without_the_key_nothing_is_told(terminal: Terminal) -> None:
    status, problem = terminal.request("/api/runs", key="wrong")
    assert (status, problem["status"]) == (401, 401)


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_process_comes_back_and_agents_go_on(terminal: Terminal, name: str) -> None:
    before = _restarts(terminal, name)
    pid = next(each["pid"] for each in terminal.status()["processes"] if each["name"] == name)
    os.kill(pid, 9)
    run_alone(eventually(lambda: _restarts(terminal, name) > before, within_s=60))
    run_alone(eventually(lambda: all(each["healthy"] for each in _processes(terminal)), within_s=60))
    status, run = terminal.request("/api/runs?wait=30", {"prompt": QUESTION})
    assert (status, run["status"]) == (200, "completed")


def test_no_secret_is_in_any_log(terminal: Terminal) -> None:
    secrets = [
        (terminal.folder / name).read_text().strip()
        for name in ("api-key", "api-key-pepper", "postgres/password", "nats/password")
    ]
    secrets.append(DataFolder.at(terminal.folder).bundle_key())
    logs = list((terminal.folder / "logs").iterdir())
    assert len(logs) >= len(SERVICES)
    for log in logs:
        text = log.read_text(errors="replace")
        assert [secret for secret in secrets if secret in text] == [], log.name


def test_a_stop_loses_nothing_and_runs_go_on_at_the_next_start(terminal: Terminal) -> None:
    key = (terminal.folder / "api-key").read_text()
    runs = [terminal.request("/api/runs", {"prompt": QUESTION})[1]["run_id"] for _ in range(5)]
    began = time.monotonic()
    terminal("down")
    # The runner hands its runs back after their current step; it does not wait until they are finished.
    assert time.monotonic() - began < RUNNER_GRACE_S / 2
    assert find_orphans(DataFolder.at(terminal.folder)) == []
    assert "stopped" in terminal("status", code=3)
    terminal("up", "--detach")
    assert (terminal.folder / "api-key").read_text() == key

    def statuses() -> set[str]:
        return {terminal.request(f"/api/runs/{run}")[1]["status"] for run in runs}

    run_alone(eventually(lambda: statuses() == {"completed"}, within_s=60))


def _processes(terminal: Terminal) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*STUDIO, "status", "--json", "--folder", str(terminal.folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return list(json.loads(done.stdout)["processes"])
