"""The supervisor over small stand-in services: order, restarts, stops, and what a kill leaves behind.

Broker and database are real; the services behave as the table says, without doing anything.
"""

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from studio.cli import app
from studio.stack import foreground
from studio.stack.display import report_table
from studio.stack.errors import AlreadyRunning, StackError, StartError
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.orphans import find_orphans
from studio.stack.plan import Options
from studio.stack.ports import LOOPBACK, free_port
from studio.stack.processes import SERVICES, STEPS, SetupStep, Table
from studio.stack.state import StackState, read_state
from studio.stack.status import report
from studio.stack.supervisor import Stack
from studio.stack.watch import Backoff
from tests.support.waiting import eventually, run_alone

STAND_IN = """
import os, sys
from pathlib import Path

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})

def make_app():
    return application

def make_broken():
    raise SystemExit("the setting X is missing")

if __name__ == "__main__":
    Path(sys.argv[1]).write_text("the-key")
"""
READY_S = 40


def options(folder: Path, broken: str = "", port: int | None = None) -> Options:
    """Stand-ins for all services, in `folder`; `broken` names one that cannot start."""
    (folder / "stand_in.py").write_text(STAND_IN)
    factories = {broken: "stand_in:make_broken"}
    services = tuple(
        replace(each, port=free_port(), app=factories.get(each.name, "stand_in:make_app"))
        for each in SERVICES
    )
    steps = tuple(replace(step, command=("stand_in", "{key_file}")) for step in STEPS)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "UNRELATED_SECRET": "do-not-pass-on"}
    return Options(port=port, environ=environ, table=Table(steps, services), backoff=Backoff(first_s=0.05))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder / "data", options(folder)) as running:
        yield running


def ready_state(folder: Path) -> StackState | None:
    state = read_state(folder / "state.json")
    return state if state and state.status == "ready" else None


def pids_of(state: StackState) -> list[int]:
    return [process.pid for process in state.processes if process.pid]


def test_everything_is_ready_and_told(stack: Stack) -> None:
    assert stack.ready
    assert stack.api_key == "the-key"
    assert {each.name: each.status for each in stack.state.processes} == {
        **dict.fromkeys(
            ("nats", "postgres", "simulator", "recorder", "cost", "replayer", "runner", "gateway"), "ready"
        ),
        **dict.fromkeys(("migrations", "streams", "api-key"), "done"),
    }
    found = report(stack.folder)
    assert (found.status, found.healthy, found.supervisor_pid) == ("ready", True, os.getpid())
    assert found.gateway_url == stack.gateway_url
    assert [each.name for each in found.processes if not each.healthy] == []


def test_the_state_holds_no_secret(stack: Stack) -> None:
    written = stack.folder.state_file.read_text() + report(stack.folder).as_json()
    passwords = [(each / "password").read_text() for each in (stack.folder.postgres, stack.folder.nats)]
    for secret in (stack.api_key, stack.folder.pepper(), *passwords):
        assert secret not in written


def test_a_child_gets_its_environment_and_nothing_else(stack: Stack) -> None:
    environment = psutil.Process(stack.server("gateway").pid).environ()
    assert environment["DATABASE_URL"] == stack.database_url
    assert environment["NATS_URL"] == stack.nats_url
    assert "UNRELATED_SECRET" not in environment
    assert "MISTRAL_API_KEY" not in environment


def test_a_child_does_not_hear_the_terminals_ctrl_c(stack: Stack) -> None:
    for pid in pids_of(stack.state):
        assert os.getsid(pid) == pid


@pytest.mark.parametrize("name", ["runner", "nats", "postgres"])
def test_a_killed_process_is_started_again_on_its_port(stack: Stack, name: str) -> None:
    before = stack.state.process(name)
    stack.server(name).kill()
    restarts = before.restarts + 1
    run_alone(eventually(lambda: stack.state.process(name).restarts == restarts, within_s=READY_S))
    after = stack.state.process(name)
    assert (after.status, after.port) == ("ready", before.port)
    assert after.pid != before.pid
    assert after.pid == stack.server(name).pid
    assert f"{name} was killed by signal 9" in stack.folder.log("supervisor").read_text()


def test_a_second_supervisor_in_the_folder_is_refused_and_disturbs_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    pids = pids_of(stack.state)
    with pytest.raises(AlreadyRunning):
        Stack(stack.folder.root, options(tmp_path)).start()
    assert pids_of(stack.state) == pids
    assert report(stack.folder).healthy


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_up_in_a_running_folder_says_where_it_is(stack: Stack, detach: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["up", *detach, "--folder", str(stack.folder.root)])
    assert result.exit_code == 3
    assert "already running" in result.output
    assert stack.gateway_url in result.output


def test_status_tells_people_and_scripts(stack: Stack) -> None:
    arguments = ["status", "--folder", str(stack.folder.root)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "gateway" in shown.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert told["gateway_url"] == stack.gateway_url
    assert told["key_file"] == str(stack.folder.key_file)
    assert told["provider"] == "simulator"
    assert {process["name"] for process in told["processes"]} == {
        *("nats", "postgres", "simulator", "recorder", "cost", "replayer", "runner", "gateway")
    }


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_keeps_health_and_pid_whole_where_there_is_little_room(stack: Stack, width: int) -> None:
    found = report(stack.folder)
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(report_table(found, width))
    rows = {words[0]: words for line in file.getvalue().splitlines() if len(words := line.split()) > 2}
    for process in found.processes:
        assert rows[process.name][1:3] == ["healthy", str(process.pid)]
    assert ("url" in rows["process"], "MiB" in rows["process"]) == (width >= 70, width >= 88)


@pytest.mark.parametrize("width", [60, 80])
def test_status_tells_of_other_ports_where_no_column_does(stack: Stack, width: int) -> None:
    found = replace(report(stack.folder), notes=("port 1 is taken: nats listens on 2",))
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(report_table(found, width))
    assert ("port 1 is taken" in file.getvalue()) == (width < 70)


def test_logs_show_one_process_or_all(stack: Stack) -> None:
    folder = ["--folder", str(stack.folder.root)]
    assert "Uvicorn running" in CliRunner().invoke(app, ["logs", "gateway", *folder]).output
    everything = CliRunner().invoke(app, ["logs", "-n", "500", *folder]).output
    assert "gateway" in everything
    assert "Server is ready" in everything
    unknown = CliRunner().invoke(app, ["logs", "nonesuch", *folder])
    assert unknown.exit_code == 1
    assert "no process 'nonesuch'" in unknown.output


def test_doctor_names_what_is_missing(stack: Stack) -> None:
    result = CliRunner().invoke(app, ["doctor", "--folder", str(stack.folder.root)])
    assert result.exit_code == 1
    assert "gateway is healthy" in result.output
    assert "the broker has no stream RUNS" in result.output


def test_a_deleted_folder_ends_the_stack_in_order_and_leaves_the_next_one_alone(
    tmp_path: Path,
) -> None:
    folder, output = tmp_path / "data", io.StringIO()
    pids: list[int] = []

    def delete_once_ready() -> None:
        pids.extend(pids_of(run_alone(eventually(lambda: ready_state(folder), within_s=READY_S))))
        folder.rename(tmp_path / "away")
        folder.mkdir()
        (folder / "state.json").write_text("the next one's")

    deleter = threading.Thread(target=delete_once_ready)
    deleter.start()
    with pytest.raises(StackError, match="the data folder was deleted while the stack ran"):
        foreground.run(folder, options(tmp_path), Console(file=output, width=200))
    deleter.join()
    assert len(pids) == 8
    assert not any(map(psutil.pid_exists, pids))
    assert (folder / "state.json").read_text() == "the next one's"
    assert "was deleted while the stack ran; stopping everything" in output.getvalue()


def test_a_service_that_cannot_start_is_told_with_its_words_and_nothing_stays(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    stack = Stack(
        tmp_path / "data",
        options(tmp_path, broken="cost"),
        lambda state: told.update({each.name: each.status for each in state.processes}),
    )
    with pytest.raises(StartError, match=r"cost ended with code 1\n(.*\n)*.*the setting X is missing"):
        stack.start()
    assert [name for name, status in told.items() if status == "failed"] == ["cost"]
    assert find_orphans(stack.folder) == []
    assert not stack.folder.state_file.exists()
    assert FolderLock(stack.folder).owner() == 0


def test_a_set_up_step_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    failing = SetupStep("migrations", ("stand_in", "/nowhere/file"), ("DATABASE_URL",), ("postgres",))
    table = replace(chosen.table, steps=(failing, *chosen.table.steps[1:]))
    with pytest.raises(StackError, match="migrations ended with code 1") as raised:
        Stack(tmp_path / "data", replace(chosen, table=table)).start()
    assert "No such file or directory: '/nowhere/file'" in str(raised.value)
    assert find_orphans(DataFolder.at(tmp_path / "data")) == []


def test_a_start_in_the_background_that_fails_says_why_and_nothing_else(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = str(other.getsockname()[1])
        arguments = ["up", "--detach", "--port", port, "--folder", str(tmp_path / "data")]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"port {port} is taken; choose another with --port")
    assert result.stdout == ""


def test_a_port_lost_during_the_start_is_replaced(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    others: list[socket.socket] = []

    def take_the_runners_port(state: StackState) -> None:
        if not others:
            others.append(socket.create_server((LOOPBACK, state.process("runner").port)))

    try:
        with Stack(tmp_path / "data", chosen, take_the_runners_port) as stack:
            taken = others[0].getsockname()[1]
            assert stack.server("runner").port != taken
            assert f"port {taken} is taken: runner listens on" in " ".join(stack.state.notes)
    finally:
        for other in others:
            other.close()
