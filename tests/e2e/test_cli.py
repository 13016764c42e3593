"""The `studio` command against the real parts, as its user runs it: in a folder, in a pipe, in a terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.run_state import fold
from shared.step_codec import decode_steps
from shared.steps import RunStatus
from studio.stack.supervisor import Stack
from tests.e2e.embedded import command, embedded_stack, environment, studio, with_project
from tests.support.bundles import changed
from tests.support.waiting import eventually, run_alone

QUESTION = "What is 5 + 10, then multiply by 3?"
RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
HOSTILE = "Say \x1b[31m this \x1b]0;owned\x07 and [bold]that[/bold] \x9b2J"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with embedded_stack(tmp_path_factory.mktemp("cli")) as stack:
        yield stack


@pytest.fixture
def folder(stack: Stack) -> Path:
    """Where a user of the stack works."""
    return stack.folder.root.parent


def run_id_in(text: str) -> str:
    found = RUN_ID.search(text)
    assert found, text
    return found.group()


def test_run_shows_every_step_and_the_right_answer(folder: Path) -> None:
    done = studio(folder, "run", QUESTION)
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [line.split()[2] for line in done.stdout.splitlines() if line.lstrip().startswith("+")]
    assert kinds[:3] == ["run-requested", "run-claimed", "user-request"]
    assert kinds[-3:] == ["agent-response", "memory-snapshot", "run-finished"]
    assert kinds.count("tool-call") == kinds.count("tool-result") == 2
    assert re.search(r"agent-response .*\b45\b", done.stdout)
    assert re.search(r"^completed .* \d\.\d+ USD .*", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_json_lines_are_the_log(folder: Path) -> None:
    done = studio(folder, "run", "--json", "--temperature", "0", "--seed", "7", QUESTION)
    assert (done.returncode, done.stderr) == (0, "")
    steps = decode_steps(f"[{','.join(done.stdout.splitlines())}]".encode())
    state = fold(steps)  # raises for a gap
    assert state.status is RunStatus.COMPLETED
    assert state.request is not None
    assert (state.request.parameters.temperature, state.request.parameters.random_seed) == (0, 7)


def test_failed_run_ends_with_code_1_and_says_why(folder: Path) -> None:
    done = studio(folder, "run", "[[simulate: 401]] Hello")
    assert done.returncode == 1
    assert "model-unauthorized" in done.stdout


def test_retries_are_shown_as_they_happen(folder: Path) -> None:
    done = studio(folder, "run", "What is 12 * 12? [[simulate: 429 x2]]")
    assert done.returncode == 0
    assert len(re.findall(r"retry +HTTP 429", done.stdout)) == 2
    assert "2 retries" in done.stdout
    shown = studio(folder, "show", run_id_in(done.stdout))
    assert len(re.findall(r"HTTP 429", shown.stdout)) == 2


def test_wrong_input_names_the_field(folder: Path) -> None:
    done = studio(folder, "run", "Hello", "--model", "nonesuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert "unknown model 'nonesuch'" in done.stderr


def test_run_is_found_again_by_the_end_of_its_id(folder: Path) -> None:
    started = studio(folder, "run", "--no-wait", "--session", "found-again", "What is 6 * 7?")
    run_id = run_id_in(started.stdout)
    assert started.stdout == f"{run_id}\n"

    def listed() -> list[dict[str, str]]:
        lines = studio(folder, "runs", "--json", "--session", "found-again").stdout.splitlines()
        return [json.loads(line) for line in lines]

    run_alone(eventually(lambda: [run["status"] for run in listed()] == ["completed"], within_s=20))
    assert [run["run_id"] for run in listed()] == [run_id]
    shown = studio(folder, "show", run_id[-8:])
    assert shown.returncode == 0
    assert run_id in shown.stdout
    assert re.search(r"█+ +agent-thought", shown.stdout)
    assert "42" in shown.stdout.splitlines()[-1]


def _heed_interrupts() -> None:
    """As in a terminal: what a shell starts in the background inherits deafness to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_command_leaves_the_run_going_and_says_how_to_end_it(folder: Path) -> None:
    run = subprocess.Popen(
        command("run", "[[simulate: hang 50s]] Hello"),
        cwd=folder,
        env=with_project(environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - the test has no threads
    )
    assert run.stdout is not None
    while "user-request" not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=20)
    run_id = run_id_in(told)
    assert run.returncode == 130
    assert f"`studio show {run_id[-8:]}`" in told
    assert f"`studio cancel {run_id[-8:]}`" in told
    assert "running" in studio(folder, "show", run_id).stdout
    assert studio(folder, "delete", "--yes", run_id).returncode == 1
    assert studio(folder, "cancel", run_id, "--why", "asked the wrong thing").returncode == 0
    run_alone(eventually(lambda: "cancelled" in studio(folder, "show", run_id).stdout, within_s=20))
    assert "asked the wrong thing" in studio(folder, "show", run_id).stdout
    assert studio(folder, "cancel", run_id).returncode == 1
    assert studio(folder, "delete", run_id, given="y\n").returncode == 0
    assert "there is no run" in studio(folder, "show", run_id).stderr


def test_no_escape_of_a_prompt_reaches_the_terminal(folder: Path) -> None:
    ran = studio(folder, "run", HOSTILE)
    shown = studio(folder, "show", run_id_in(ran.stdout))
    listed = studio(folder, "runs")
    as_json = studio(folder, "show", "--json", run_id_in(ran.stdout))
    for output in (ran.stdout, shown.stdout, listed.stdout, as_json.stdout):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", output)
        assert "[bold]that[/bold]" in output
    assert json.loads(as_json.stdout)["prompt"] == HOSTILE


def test_terminal_sees_the_model_think_and_write(folder: Path) -> None:
    code, output = in_terminal(folder, "run", "[[simulate: slow 2s]] Tell me about ships")
    assert code == 0
    assert "asking the model" in output or "asking mistral-large-latest" in output
    assert "writing" in output
    assert "agent-response" in output
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") > 0


def test_a_run_is_taken_elsewhere_as_a_file_and_back(folder: Path, tmp_path: Path) -> None:
    for prompt in ("What is 5 + 10?", QUESTION):
        run_id = run_id_in(studio(folder, "run", prompt, "--session", "of-a-file").stdout)
    file = tmp_path / "run.studio"
    assert studio(folder, "bundle", run_id, "-o", str(file), "--redact", "metadata").returncode == 0
    elsewhere = studio(tmp_path, "replay", "run.studio", STUDIO_URL="http://127.0.0.1:9")
    assert (elsewhere.returncode, elsewhere.stderr) == (0, "")
    assert f"run {run_id}  completed" in elsewhere.stdout
    assert "3 requests to the model are made again just as they were recorded" in elsewhere.stdout
    imported = studio(folder, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    verified = studio(folder, "verify", run_id_in(imported.stdout))
    assert verified.stdout == "1 verified: 1 equal, 0 parted\n"
    file.write_bytes(changed(file.read_bytes(), "steps.jsonl", lambda data: data.replace(b"45", b"46", 1)))
    for typed in (("replay", "run.studio"), ("import", str(file))):
        refused = studio(tmp_path if typed[0] == "replay" else folder, *typed)
        assert refused.returncode == (2 if typed[0] == "replay" else 1)
        assert re.search(r"steps\.jsonl, step \d+: content does not match its hash", refused.stderr)


def test_nothing_runs_in_another_folder(folder: Path, tmp_path: Path) -> None:
    done = studio(tmp_path, "runs")
    assert done.returncode == 1
    assert "No server found" in done.stderr
    assert studio(tmp_path, "runs", STUDIO_FOLDER=str(folder / ".studio")).returncode == 0


def in_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and everything written, with a terminal of 120 columns as its input and output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environ = with_project(environment(TERM="xterm-256color"))
    process = subprocess.Popen(
        command(*arguments), cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:
        pass  # what Linux says instead of an end once the other side is closed
    finally:
        os.close(ours)
    return process.wait(20), output.decode(errors="replace")
