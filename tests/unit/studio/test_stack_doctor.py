"""The doctor says in words what is wrong, whatever it finds."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.commands.stack import app
from studio.stack.doctor import examine
from studio.stack.doctor.broker import check_streams
from studio.stack.doctor.finding import Finding
from studio.stack.doctor.machine import check_machine
from studio.stack.doctor.provider import check_provider
from studio.stack.folder import DataFolder
from studio.stack.plan import Options
from studio.stack.ports import free_port

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]


@contextmanager
def _server(answer: Answer) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The test's output stays clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _problems(findings: Iterator[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.level == "problem"]


def test_a_sound_machine_without_a_stack_has_no_problem(tmp_path: Path) -> None:
    found = list(examine(DataFolder.at(tmp_path / "studio"), Options(environ={})))
    assert [each.what for each in found if each.level == "problem"] == []
    told = " ".join(each.what for each in found)
    for fact in ("Python 3.", "nats-server", "PostgreSQL", "GiB are free", "nothing runs in", "simulated"):
        assert fact in told


def test_every_problem_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.stack.nats.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("studio.stack.doctor.machine.LEAST_FREE", 2**80)
    monkeypatch.setattr("studio.stack.doctor.machine.PYTHON", (4, 0))
    found = [each for each in check_machine(DataFolder.at(tmp_path), Options()) if each.level == "problem"]
    assert len(found) == 3
    assert all(each.remedy for each in found)
    assert "is too old" in found[0].what
    assert "nats-server is neither at" in found[1].what


def test_a_secret_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path)
    folder.key_file.write_text("key")
    folder.key_file.chmod(0o644)
    assert _problems(check_machine(folder, Options())) == [f"others can read the secret in {folder.key_file}"]


def test_missing_streams_and_consumers_are_named() -> None:
    stream = {"name": "RUNS", "state": {"messages": 3, "bytes": 4096}, "consumer_detail": [{"name": "cost"}]}
    body = json.dumps({"account_details": [{"stream_detail": [stream]}]}).encode()
    with _server(lambda _: (200, body)) as port:
        found = _problems(check_streams(port))
    assert found[0] == "stream RUNS has no consumer recorder, runner"
    assert "the broker has no stream WORK" in found


def test_a_broker_that_does_not_answer_is_a_problem() -> None:
    assert _problems(check_streams(free_port()))


@pytest.mark.parametrize(
    ("status", "problem"), [(200, ""), (404, ""), (401, "refuses the key (401)"), (503, "answers with 503")]
)
def test_a_provider_is_asked_with_the_key(status: int, problem: str) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append((request.path, request.headers["Authorization"]))
        return status, b"{}"

    with _server(answer) as port:
        environ = {"MISTRAL_SERVER_URL": f"http://127.0.0.1:{port}/", "MISTRAL_API_KEY": "secret-key"}
        found = list(check_provider(environ))
    assert asked == [("/v1/models", "Bearer secret-key")]
    assert "secret-key" not in str(found)
    assert [each.what for each in found if problem and problem not in each.what] == []
    assert bool(_problems(iter(found))) == bool(problem)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "file:///etc/passwd", "http://[broken"])
def test_a_provider_that_cannot_be_asked_is_a_problem(url: str) -> None:
    assert len(_problems(check_provider({"MISTRAL_SERVER_URL": url}))) == 1


def test_a_file_where_the_folder_should_be_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("")
    result = CliRunner().invoke(app, ["doctor", "--folder", str(file)])
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert f"{file} is no folder" in result.output


def test_a_failed_command_names_the_folder_where_there_is_something_to_look_at(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path / "a folder")
    folder.prepare()
    folder.lock_file.symlink_to(tmp_path / "elsewhere")
    arguments = ["down", "--folder", str(folder.root)]
    assert "What to do" not in CliRunner().invoke(app, arguments).output
    folder.log("supervisor").touch()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert f"`studio doctor --folder '{folder.root}'` explains" in result.output
